import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import type { RunSql } from '../../harness/effects.js';

interface Capture {
  account_id: string;
  charge_id: string;
  amount: number;
  currency: string;
  source: string;
}

/**
 * A bank over HTTP whose slowness does not depend on the machine. It captures at once. It answers `tok_slow` when the charge is released, and
 * `tok_timeout` when it is asked for the second time. It recognises a charge by its amount, because it does not receive the client's key.
 */
export class HeldBank {
  private readonly held = new Map<number, ServerResponse>();
  private readonly asked = new Set<string>();
  private readonly server = createServer((request, response) => {
    json(request)
      .then((body) => this.capture(body as Capture, response))
      .catch(() => response.destroy());
  });

  private constructor(private readonly sql: RunSql) {}

  /** @param sql of the database that has the table of the simulated bank, where the captures are counted */
  static async start(sql: RunSql): Promise<HeldBank> {
    const bank = new HeldBank(sql);
    await new Promise<void>((resolve) => bank.server.listen(0, '127.0.0.1', resolve));
    return bank;
  }

  /** For `GATEWAY_URL`. */
  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Answers the charge with this amount. */
  release(amount: number): void {
    const response = this.held.get(amount);
    if (response) answer(response);
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async capture(capture: Capture, response: ServerResponse): Promise<void> {
    const { account_id, charge_id, amount, currency, source } = capture;
    await this.sql(CAPTURE, [account_id, charge_id, amount, currency]);
    const isFirst = !this.asked.has(charge_id);
    this.asked.add(charge_id);
    if (isFirst && source === 'tok_slow') this.held.set(amount, response);
    else if (!isFirst || source !== 'tok_timeout') answer(response);
  }
}

const answer = (response: ServerResponse) => response.writeHead(200, { 'content-type': 'application/json' }).end('{}');

const CAPTURE = `
  INSERT INTO bank.captures (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $2, $3, $4)
  ON CONFLICT (account_id, idempotency_key) DO NOTHING`;
