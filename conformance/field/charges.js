// The effect that each server in JavaScript has: one row for one charge.
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 20 });
pool.on('error', () => undefined);

/** Returns the status and the body of the answer to `POST /charges`. */
export async function createCharge({ amount, currency, source, before_ms = 0, after_ms = 0 }) {
  if (!Number.isInteger(amount) || amount <= 0)
    return { status: 400, body: { error: 'amount must be a positive integer' } };
  if (source === 'tok_chargeDeclined') return { status: 402, body: { error: 'card_declined' } };
  await pause(before_ms);
  const { rows } = await pool.query('INSERT INTO charges (amount, currency) VALUES ($1, $2) RETURNING id', [
    amount,
    currency,
  ]);
  await pause(after_ms);
  return { status: 201, body: { id: rows[0].id, amount, currency } };
}

/** Returns the body of the answer to `GET /charges`. */
export async function listCharges() {
  const { rows } = await pool.query('SELECT id FROM charges ORDER BY id DESC');
  return { count: rows.length, data: rows.map(({ id }) => id) };
}
