import httpx
import tenacity


class Retryable(Exception):
    def __init__(self, reply, pause):
        super().__init__(reply)
        self.pause = pause


@tenacity.retry(
    retry=tenacity.retry_if_exception_type((Retryable, httpx.TransportError)),
    wait=lambda state: getattr(state.outcome.exception(), "pause", 1),
    stop=tenacity.stop_after_attempt(10),
)
def charge(url, key, body, timeout=30):
    headers = {"Idempotency-Key": key}
    response = httpx.post(f"{url}/charges", json=body, headers=headers, timeout=timeout)
    reply = response.json()
    if response.is_error and reply.get("retryable", True):
        raise Retryable(reply, float(response.headers.get("Retry-After", 1)))
    return reply
