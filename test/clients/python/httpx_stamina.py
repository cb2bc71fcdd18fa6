import httpx
import stamina


def pause(error):
    if isinstance(error, httpx.HTTPStatusError):
        response = error.response
        if response.status_code not in (409, 429, 500, 502, 503, 504):
            return False
        return float(response.headers.get("Retry-After", 1))
    return isinstance(error, httpx.TransportError)


@stamina.retry(on=pause, attempts=10, timeout=None)
def charge(url, key, body, timeout=30):
    headers = {"Idempotency-Key": key}
    response = httpx.post(f"{url}/charges", json=body, headers=headers, timeout=timeout)
    return response.raise_for_status().json()
