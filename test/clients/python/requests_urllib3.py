import requests
import tenacity
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

retry = Retry(
    total=9,
    allowed_methods=["POST"],
    status_forcelist=[409, 429, 500, 502, 503, 504],
    backoff_factor=0.5,
    raise_on_status=False,
)
session = requests.Session()
session.mount("http://", HTTPAdapter(max_retries=retry))
session.mount("https://", HTTPAdapter(max_retries=retry))


# urllib3 retries until the reply begins, and tenacity if the reply breaks off.
@tenacity.retry(
    retry=tenacity.retry_if_exception_type(requests.exceptions.ChunkedEncodingError),
    stop=tenacity.stop_after_attempt(3),
)
def charge(url, key, body, timeout=30):
    headers = {"Idempotency-Key": key}
    return session.post(f"{url}/charges", json=body, headers=headers, timeout=timeout).json()
