"""The FastAPI application of the README of asgi-idempotency-header, with its Redis backend."""

import os

import uvicorn
from charges import create_charge, list_charges
from fastapi import Body, FastAPI
from fastapi.middleware import Middleware
from fastapi.responses import JSONResponse
from idempotency_header_middleware import IdempotencyHeaderMiddleware
from idempotency_header_middleware.backends import RedisBackend
from redis.asyncio import from_url

ttl = os.environ.get("KEY_TTL_SECONDS")
redis = from_url(os.environ["REDIS_URL"])
backend = RedisBackend(redis=redis, **({"expiry": int(ttl)} if ttl else {}))
app = FastAPI(middleware=[Middleware(IdempotencyHeaderMiddleware, backend=backend)])


@app.post("/charges")
def create(charge: dict = Body(...)):
    status, body = create_charge(charge)
    return JSONResponse(body, status)


@app.get("/charges")
def read():
    return list_charges()


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
