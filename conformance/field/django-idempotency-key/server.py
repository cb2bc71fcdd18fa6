"""A Django project with the middleware of the README of django-idempotency-key, its cache storage and its lock for several processes, both in Redis."""

import json
import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from waitress import serve

redis_url = os.environ["REDIS_URL"]
ttl = os.environ.get("KEY_TTL_SECONDS")

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["idempotency_key.middleware.IdempotencyKeyMiddleware"],
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": redis_url,
            **({"TIMEOUT": int(ttl)} if ttl else {}),
        }
    },
    IDEMPOTENCY_KEY={
        # The status of the original reply, because the kit asks for the reply that the first request got.
        "CONFLICT_STATUS_CODE": None,
        "STORAGE": {"CLASS": "idempotency_key.storage.CacheKeyStorage"},
        "LOCK": {
            "CLASS": "idempotency_key.locks.redis.MultiProcessRedisLock",
            "LOCATION": redis_url,
            # All keys share one lock, and the default of 0.1 seconds is too short for requests that arrive at once.
            "TIMEOUT": 5,
        },
    },
)
django.setup()

from charges import create_charge, list_charges  # noqa: E402


def charges(request):
    if request.method == "GET":
        return JsonResponse(list_charges())
    status, body = create_charge(json.loads(request.body))
    return JsonResponse(body, status=status)


urlpatterns = [path("charges", charges)]

serve(get_wsgi_application(), host="127.0.0.1", port=int(os.environ["PORT"]), threads=32)
