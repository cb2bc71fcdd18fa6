import httpx
import tenacity
from httpx_retries import Retry, RetryTransport

STATUSES = [409, 429, 500, 502, 503, 504]
retry = Retry(total=9, allowed_methods=["POST"], status_forcelist=STATUSES, backoff_factor=0.5)
client = httpx.Client(transport=RetryTransport(retry=retry))


# RetryTransport retries until the reply begins, and tenacity if the reply breaks off.
@tenacity.retry(
    retry=tenacity.retry_if_exception_type((httpx.RemoteProtocolError, httpx.ReadError)),
    stop=tenacity.stop_after_attempt(3),
)
def charge(url, key, body, timeout=30):
    headers = {"Idempotency-Key": key}
    return client.post(f"{url}/charges", json=body, headers=headers, timeout=timeout).json()
