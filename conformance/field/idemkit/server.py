"""The FastAPI application of the README of idemkit, with the backend and the scope that the README gives for production."""

import asyncio
import os

import uvicorn
from charges import create_charge, list_charges
from fastapi import Body, FastAPI
from fastapi.responses import JSONResponse
from idemkit import HttpConfig, IdempotencyMiddleware, PostgresBackend, RedisBackend
from idemkit.backends.postgres import init_pg

ttl = os.environ.get("KEY_TTL_SECONDS")
# The lease has to be shorter than the lifetime of a key.
lifetimes = {"expires_after_seconds": float(ttl), "lease_ttl_seconds": 1.0} if ttl else {}

if os.environ["STORE"] == "PostgreSQL":
    # The same as the command `idemkit init-pg` of the documentation.
    asyncio.run(init_pg(os.environ["DATABASE_URL"]))
    backend = PostgresBackend.from_url(os.environ["DATABASE_URL"])
else:
    backend = RedisBackend.from_url(os.environ["REDIS_URL"])

app = FastAPI()
app.add_middleware(
    IdempotencyMiddleware,
    backend=backend,
    config=HttpConfig(scope=lambda request: request.headers.get("x-user-id", "anonymous"), **lifetimes),
)


@app.post("/charges")
def create(charge: dict = Body()):
    status, body = create_charge(charge)
    return JSONResponse(body, status)


@app.get("/charges")
def read():
    return list_charges()


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
