"""Each library with its retry as it comes: only the key and a timeout are set. docs/clients.md says where that is not enough."""

import httpx
import requests
from httpx_retries import RetryTransport
from requests.adapters import HTTPAdapter

adapting = requests.Session()
adapting.mount("http://", HTTPAdapter(max_retries=3))
connecting = httpx.Client(transport=httpx.HTTPTransport(retries=3))
retrying = httpx.Client(transport=RetryTransport())


def default_of(client):
    def charge(url, key, body, timeout):
        headers = {"Idempotency-Key": key}
        return client.post(f"{url}/charges", json=body, headers=headers, timeout=timeout).json()

    return charge


DEFAULTS = {
    "requests_urllib3": default_of(adapting),
    "httpx": default_of(connecting),
    "httpx_with_retries": default_of(retrying),
}
