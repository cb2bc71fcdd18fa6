"""The effect that each server in Python has: one row for one charge."""

import os
import time

from psycopg_pool import ConnectionPool

pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=1, max_size=20, open=True)


def create_charge(charge: dict) -> tuple[int, dict]:
    """Returns the status and the body of the answer to `POST /charges`."""
    amount, currency = charge.get("amount"), charge.get("currency")
    if not isinstance(amount, int) or amount <= 0:
        return 400, {"error": "amount must be a positive integer"}
    if charge.get("source") == "tok_chargeDeclined":
        return 402, {"error": "card_declined"}
    time.sleep(charge.get("before_ms", 0) / 1000)
    with pool.connection() as connection:
        row = connection.execute(
            "INSERT INTO charges (amount, currency) VALUES (%s, %s) RETURNING id", (amount, currency)
        ).fetchone()
    time.sleep(charge.get("after_ms", 0) / 1000)
    return 201, {"id": row[0], "amount": amount, "currency": currency}


def list_charges() -> dict:
    """Returns the body of the answer to `GET /charges`."""
    with pool.connection() as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM charges ORDER BY id DESC")]
    return {"count": len(ids), "data": ids}
