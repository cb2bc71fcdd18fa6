import { randomUUID } from 'node:crypto';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { Pool } from 'pg';
import type { BankOrder, BankReport } from './bank-messages.js';

/**
 * The bank, as a process of its own that no fault stops. It captures once for each idempotency key and records its captures in
 * `bank.captures`. A request without a key is always a new capture. The path of a request begins with the name of the replica.
 */
const pool = new Pool({ connectionString: process.env['DATABASE_URL'], max: 10 });
pool.on('error', () => undefined);

const CAPTURE = `
  INSERT INTO bank.captures (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (account_id, idempotency_key) DO NOTHING`;

interface Capture {
  account_id?: string;
  charge_id: string;
  amount: number;
  currency: string;
}

let isHolding = false;
let answersToLose = 0;
const held = new Set<() => void>();

const report = (message: BankReport) => void process.send?.(message);

const server = createServer((request, response) => {
  const replica = request.url?.[1] === 'B' ? 'B' : 'A';
  const given = request.headers['idempotency-key'];
  const key = typeof given === 'string' ? given : `none_${randomUUID()}`;
  json(request)
    .then(async (body) => {
      const { account_id = 'acct_lab', charge_id, amount, currency } = body as Capture;
      report({ kind: 'received', replica, ...(typeof given === 'string' && { key }) });
      const { rowCount } = await pool.query(CAPTURE, [account_id, key, charge_id, amount, currency]);
      const answer = () => send(response, { replica, key, isFirst: rowCount === 1 });
      report({ kind: 'captured', replica, key, isFirst: rowCount === 1 });
      if (isHolding) held.add(answer);
      else answer();
    })
    .catch(() => response.destroy());
});

function send(response: ServerResponse, about: { replica: 'A' | 'B'; key: string; isFirst: boolean }): void {
  const isLost = answersToLose > 0 || response.destroyed;
  if (isLost && !response.destroyed) answersToLose--;
  report({ kind: 'answered', ...about, isLost });
  if (isLost) response.destroy();
  else response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
}

process.on('message', (order: BankOrder) => {
  isHolding = order.isHolding;
  answersToLose = order.answersToLose;
  if (isHolding) return;
  held.forEach((answer) => answer());
  held.clear();
});
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => report({ kind: 'listening', port: (server.address() as AddressInfo).port }));
