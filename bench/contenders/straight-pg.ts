import { DEMO_ACCOUNT } from '../../src/accounts/api-keys.js';
import { createHash, randomUUID } from 'node:crypto';
import { Client } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { toResource } from '../../src/charges/dto/charge.resource.js';
import type { Job, Tally } from '../measurement.js';
import { ready, workOn } from '../worker.js';
import { pendingCharge, settlement } from './charge-rows.js';

const FINGERPRINT = createHash('sha256').update('the same for all').digest();
const HEADERS = JSON.stringify({ 'content-type': 'application/json; charset=utf-8' });

// The statements have names, so that each connection parses and plans them only once.
const INSERT_KEY = {
  name: 'insert_key',
  text: `INSERT INTO processed_requests
           (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
         VALUES ($1, $2, $3, 'POST /charges', $4, $5, clock_timestamp() + interval '30 seconds', clock_timestamp())`,
};
const INSERT_CHARGE = {
  name: 'insert_charge',
  text: `INSERT INTO charges (account_id, id, amount, currency, source, metadata, status, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'pending', clock_timestamp())`,
};
const CAPTURE = {
  name: 'capture',
  text: `INSERT INTO bank.captures (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $2, $3, $4)`,
};
const SETTLE = {
  name: 'settle',
  text: `UPDATE charges SET status = 'succeeded', settled_at = clock_timestamp() WHERE account_id = $1 AND id = $2`,
};
// The message is stored as published, because this database has no consumer.
const APPEND_MESSAGE = {
  name: 'append_message',
  text: `INSERT INTO outbox (account_id, id, type, data, created_at, available_at, published_at)
         VALUES ($1, $2, 'charge.succeeded', $3, clock_timestamp(), clock_timestamp(), clock_timestamp())`,
};
const COMPLETE = {
  name: 'complete',
  text: `UPDATE processed_requests SET response_status = 200, response_headers = $3, response_body = $4,
           completed_at = clock_timestamp(), locked_until = NULL
         WHERE account_id = $1 AND idempotency_key = $2`,
};

/** Writes the rows of one charge in the order of the service's protocol, one statement after another. */
async function charge(db: Client): Promise<void> {
  const requestId = uuidv7();
  const row = pendingCharge(requestId, { amount: 1999, currency: 'eur' });
  const key = `straight-${requestId}`;
  await db.query('BEGIN');
  await db.query(INSERT_KEY, [DEMO_ACCOUNT, key, requestId, FINGERPRINT, randomUUID()]);
  await db.query(INSERT_CHARGE, [DEMO_ACCOUNT, row.id, row.amount, row.currency, row.source, row.metadata]);
  await db.query('COMMIT');
  await db.query(CAPTURE, [DEMO_ACCOUNT, row.id, row.amount, row.currency]);
  await db.query('BEGIN');
  await db.query(SETTLE, [DEMO_ACCOUNT, row.id]);
  const data = JSON.stringify({ charge_id: row.id, amount: row.amount, currency: row.currency, order_id: null });
  await db.query(APPEND_MESSAGE, [DEMO_ACCOUNT, `charge.succeeded.${row.id}`, data]);
  const body = JSON.stringify(toResource({ ...row, ...settlement({ status: 'succeeded' }) }, 0));
  await db.query(COMPLETE, [DEMO_ACCOUNT, key, HEADERS, body]);
  await db.query('COMMIT');
}

/** Measures PostgreSQL alone with the same rows: no HTTP, no framework, no other process. */
async function chargeInLoops({ connections, until }: Job, tally: Tally): Promise<void> {
  const clients = Array.from({ length: connections }, () => new Client(process.env['DATABASE_URL']));
  await Promise.all(clients.map((client) => client.connect()));
  const isOver = () => ('seconds' in until ? tally.elapsedSeconds >= until.seconds : tally.sent >= until.requests);
  const loop = async (db: Client) => {
    while (!isOver()) {
      tally.sent++;
      const startedAtMs = performance.now();
      await charge(db);
      tally.answer(performance.now() - startedAtMs, true);
    }
  };
  await Promise.all(clients.map(loop));
  await Promise.all(clients.map((client) => client.end()));
}

workOn<Job>(chargeInLoops);
ready();
