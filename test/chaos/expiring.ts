import { randomUUID } from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { canonicalRequest, fingerprintOf } from '../../src/idempotency/http/fingerprint.js';
import type { Arena } from './arena.js';
import { chargeIdOf } from './checker/stories.js';
import type { JournalEntry } from './evidence.js';
import type { Operation, Reply } from './history.js';
import { RECOVERY_MS } from './timing.js';

const DAY_MS = 86_400_000;
const RETRY_MS = 50;
const JSON_TYPE = 'application/json; charset=utf-8';

/**
 * Inserts a charge of a day ago whose reply expires soon: all rows that the service would have written, and the line in the bank's
 * journal. Its message has been released and not published, so it goes through the inbox.
 *
 * @param expiresAt milliseconds since 1970
 * @returns the recorded reply
 */
export async function recordedLongAgo(arena: Arena, operation: Operation, expiresAt: number): Promise<Reply> {
  const { account, key = '', body } = operation;
  const requestId = randomUUID();
  const id = chargeIdOf(requestId);
  const { amount, currency, description } = body as { amount: number; currency: string; description: string };
  const createdAt = new Date(expiresAt - DAY_MS);
  const resource = JSON.stringify({ id, object: 'charge', amount, currency, status: 'succeeded', description });
  const fingerprint = fingerprintOf(canonicalRequest('POST /charges', { path: {}, query: {} }, body));
  const entry: JournalEntry = { at: Date.now(), account, key: id, charge: id, amount, currency, decision: 'captured' };
  const values = [account, key, requestId, fingerprint, resource, createdAt, id, amount, currency, description];
  await untilInserted(() => arena.database.query(RECORD, values));
  appendFileSync(join(arena.directory, 'journal.jsonl'), `${JSON.stringify(entry)}\n`);
  arena.courier.report(entry);
  return { status: 200, contentType: JSON_TYPE, body: resource, replayed: true };
}

/** Repeats the insert while faults interrupt it. */
async function untilInserted(insert: () => Promise<unknown>): Promise<void> {
  for (const deadline = performance.now() + RECOVERY_MS; ;) {
    try {
      return void (await insert());
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await pause(RETRY_MS);
    }
  }
}

// An earlier try may have succeeded although its answer was lost. Then the charge exists, and this statement inserts nothing. The logical
// message makes its COMMIT wait until a standby has the rows of the earlier try.
// $1 account, $2 key, $3 request id, $4 fingerprint, $5 reply, $6 created at, $7 charge, $8 amount, $9 currency, $10 description
const RECORD = `
  WITH charge AS (
    INSERT INTO charges (account_id, id, amount, currency, source, description, metadata, status, created_at, settled_at)
    VALUES ($1, $7, $8, $9, 'tok_visa', $10, '{}', 'succeeded', $6, $6)
    ON CONFLICT DO NOTHING RETURNING id
  ), request AS (
    INSERT INTO processed_requests (account_id, idempotency_key, request_id, operation, fingerprint, lock_token,
      response_status, response_headers, response_body, created_at, completed_at)
    SELECT $1, $2, $3, 'POST /charges', $4, gen_random_uuid(), 200,
      '{"content-type": "${JSON_TYPE}"}', $5, $6, $6 FROM charge
  ), message AS (
    INSERT INTO outbox (account_id, id, type, data, created_at, available_at)
    SELECT $1, 'charge.succeeded.' || $7::text, 'charge.succeeded',
      jsonb_build_object('charge_id', $7::text, 'amount', $8::integer, 'currency', $9::text, 'order_id', NULL), $6, $6 FROM charge
  )
  SELECT pg_logical_emit_message(true, 'chaos', '')`;
