"""A Lambda function with `@idempotent` and the cache layer, as the documentation of Powertools shows them, behind the smallest stand-in for API
Gateway: one HTTP request is one invocation, and an invocation that raises is answered with 502."""

import json
import os
import sys
import time
import traceback

import redis
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.idempotency.persistence.cache import CachePersistenceLayer
from charges import create_charge, list_charges
from waitress import serve

# The timeout of the function. Lambda tells the function how much of it is left, and Powertools uses the rest as its lease.
TIMEOUT_MS = 10_000

client = redis.Redis.from_url(os.environ["REDIS_URL"])
ttl = os.environ.get("KEY_TTL_SECONDS")
validation = os.environ.get("PAYLOAD_VALIDATION")


class Context:
    function_name = "charges"
    memory_limit_in_mb = 128
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:charges"
    aws_request_id = "request"

    def __init__(self) -> None:
        self.deadline = time.monotonic() + TIMEOUT_MS / 1000

    def get_remaining_time_in_millis(self) -> int:
        return int((self.deadline - time.monotonic()) * 1000)


def invoke(event: dict) -> dict:
    """Each invocation has an environment of its own, because Lambda never runs two invocations in one environment at once."""
    config = IdempotencyConfig(
        event_key_jmespath='headers."idempotency-key"',
        **({"payload_validation_jmespath": validation} if validation else {}),
        **({"expires_after_seconds": int(ttl)} if ttl else {}),
    )

    @idempotent(config=config, persistence_store=CachePersistenceLayer(client=client))
    def handler(event, context):
        status, body = create_charge(json.loads(event["body"]))
        return {"statusCode": status, "body": json.dumps(body)}

    return handler(event, Context())


def answer(environ: dict) -> dict:
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if path != "/charges":
        return {"statusCode": 404, "body": '{"message": "Not Found"}'}
    if method == "GET":
        return {"statusCode": 200, "body": json.dumps(list_charges())}
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    headers = {
        name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")
    }
    try:
        return invoke({"httpMethod": method, "path": path, "headers": headers, "body": body})
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return {"statusCode": 502, "body": '{"message": "Internal server error"}'}


def app(environ, start_response):
    result = answer(environ)
    start_response(f"{result['statusCode']} -", [("Content-Type", "application/json")])
    return [result["body"].encode()]


serve(app, host="127.0.0.1", port=int(os.environ["PORT"]), threads=32)
