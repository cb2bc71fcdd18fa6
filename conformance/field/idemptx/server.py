"""The FastAPI application of the README of idemptx, with its Redis backend."""

import asyncio
import os

import redis.asyncio
import uvicorn
from charges import create_charge, list_charges
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from idemptx import idempotent
from idemptx.backend import AsyncRedisBackend

ttl = os.environ.get("KEY_TTL_SECONDS")
backend = AsyncRedisBackend(redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]))
app = FastAPI()


@app.post("/charges")
@idempotent(storage_backend=backend, **({"key_ttl": int(ttl)} if ttl else {}))
async def create(request: Request):
    status, body = await asyncio.to_thread(create_charge, await request.json())
    return JSONResponse(body, status)


@app.get("/charges")
def read():
    return list_charges()


uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
