import { REFUSED_MS } from './expectations.js';
import { moved } from './moves.js';
import type { World } from './world.js';

const CHARGES = 100_000;
/** Each of them gets as many rows as there are charges. */
const SEEDED_TABLES = 6;
/** Its charges are inserted after the verdict, because the bank does not know them. */
const ACCOUNT = 'acct_12';

/** Moves an account with a long history. Final rows are compared before the account is closed, so a large account is closed no longer than a small one. */
export async function moveLargeAccount(world: World): Promise<string> {
  const from = await world.cellOf(ACCOUNT);
  const to = from === 'cell1' ? 'cell2' : 'cell1';
  await world.cells[from].database.query(SEED, [ACCOUNT, CHARGES]);
  const startedAt = performance.now();
  const output = await moved(world, ACCOUNT, to);
  const seconds = Math.round((performance.now() - startedAt) / 1000);
  // A further attempt would mean that the rows of a long history cannot be compared in the time for which an account may be closed.
  const closedMs = Number(/(\d+) ms after it was closed \(attempt 1\)/.exec(output)?.[1]);
  const deleted = Number(/cleaned: (\d+) rows/.exec(output)?.[1]);
  if (!(closedMs < REFUSED_MS)) throw new Error(`closed for ${closedMs} ms\n${output}`);
  if (!(deleted >= SEEDED_TABLES * CHARGES)) throw new Error(`${deleted} rows deleted\n${output}`);
  return `${deleted} rows in ${seconds} s, closed for ${closedMs} ms`;
}

// $1 account, $2 number of charges. Inserts the rows that orders and their charges have left an hour ago.
const SEED = `
  WITH seeded AS MATERIALIZED (
    SELECT gen_random_uuid() AS request_id, clock_timestamp() - interval '1 hour' AS at FROM generate_series(1, $2::int)
  ), charged AS (
    INSERT INTO charges (account_id, id, amount, currency, source, metadata, status, created_at, settled_at)
    SELECT $1, 'ch_' || replace(request_id::text, '-', ''), 1999, 'eur', 'tok_visa', '{}', 'succeeded', at, at FROM seeded
  ), sent AS (
    INSERT INTO outbox (account_id, id, type, data, created_at, available_at, published_at)
    SELECT $1, 'charge.succeeded.ch_' || replace(request_id::text, '-', ''), 'charge.succeeded',
           '{"amount": 1999, "currency": "eur", "order_id": null}', at, at, at FROM seeded
  ), received AS (
    INSERT INTO processed_messages (account_id, consumer, message_id, processed_at)
    SELECT $1, 'balance', 'charge.succeeded.ch_' || replace(request_id::text, '-', ''), at FROM seeded
  ), ordered AS (
    INSERT INTO orders (account_id, order_id, status, amount, currency, items, created_at, paid_at)
    SELECT $1, request_id::text, 'paid', 1999, 'eur', '[{"item_id": "item_1", "quantity": 1, "unit_amount": 1999}]', at, at FROM seeded
  ), mailed AS (
    INSERT INTO mailed_orders (account_id, order_id, mailed_at) SELECT $1, request_id::text, at FROM seeded
  )
  INSERT INTO processed_requests (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, response_status,
                                  response_headers, response_body, created_at, completed_at)
  SELECT $1, request_id::text, request_id, 'POST /charges', sha256('seeded'), gen_random_uuid(), 200,
         '{"content-type": "application/json; charset=utf-8"}', repeat('x', 300), at, at FROM seeded`;
