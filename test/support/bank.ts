import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { TestDatabase } from './database.js';
import { Barrier } from './waiting.js';

/** A bank over HTTP, for services in processes of their own. It captures every charge and pays every refund that it receives, once. */
export interface TestBank {
  /** For `GATEWAY_URL`. */
  url: string;
  /** Holds the next answer at a barrier, after the bank has captured the money. Later answers pass. */
  holdAnswer(): Barrier;
  close(): Promise<void>;
}

interface Capture {
  account_id: string;
  charge_id: string;
  /** Only in the request for a refund. */
  refund_id?: string;
  amount: number;
  currency: string;
}

/** Starts a bank that writes its captures and refunds to the tables of the simulated bank, so that tests count them in the same way. */
export async function startBank({ sql }: TestDatabase): Promise<TestBank> {
  let barrier: Barrier | undefined;
  const server = createServer((request, response) => {
    const capture = async ({ account_id, charge_id, refund_id, amount, currency }: Capture) => {
      if (refund_id) await sql(REFUND, [account_id, refund_id, charge_id, amount, currency]);
      else await sql(CAPTURE, [account_id, charge_id, amount, currency]);
      await barrier?.pass();
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    };
    json(request)
      .then((body) => capture(body as Capture))
      .catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    holdAnswer: () => (barrier = new Barrier()),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const CAPTURE = `
  INSERT INTO bank.captures (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $2, $3, $4)
  ON CONFLICT (account_id, idempotency_key) DO NOTHING`;

const REFUND = `
  INSERT INTO bank.refunds (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (account_id, idempotency_key) DO NOTHING`;
