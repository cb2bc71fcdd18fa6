"""A Django project with the middleware and the database backend of the quick start of drf-idempotency."""

import json
import os

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path
from psycopg.conninfo import conninfo_to_dict
from waitress import serve

database = conninfo_to_dict(os.environ["DATABASE_URL"])
ttl = os.environ.get("KEY_TTL_SECONDS")
# The lock has to be shorter than the lifetime of a key.
lifetimes = {"TTL_SECONDS": int(ttl), "LOCK_TTL_SECONDS": 1} if ttl else {}

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["drf_idempotency"],
    MIDDLEWARE=["drf_idempotency.middleware.IdempotencyMiddleware"],
    IDEMPOTENCY={"BACKEND": "drf_idempotency.backends.database.DatabaseBackend", **lifetimes},
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": database["host"],
            "PORT": database["port"],
            "NAME": database["dbname"],
            "USER": database["user"],
            "PASSWORD": database["password"],
        }
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

call_command("migrate", verbosity=0)
serve(get_wsgi_application(), host="127.0.0.1", port=int(os.environ["PORT"]), threads=32)
