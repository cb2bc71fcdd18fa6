import { Agent, request } from 'node:http';
import { authorizationOf } from './accounts.js';

/** One HTTP request, ready to be sent. */
export interface Outgoing {
  method: 'GET' | 'POST';
  path: string;
  headers: Record<string, string>;
  body?: string;
}

/** Longer than a service that is blocked by the hardest attack takes to answer. */
const TIMEOUT_MS = 60_000;
/** An ordinary charge, as in the README and the other scenarios. */
const CHARGE = { amount: 1999, currency: 'eur' };
const CHARGE_BODY = JSON.stringify(CHARGE);

/** A request without an API key. */
export const get = (path: string): Outgoing => ({ method: 'GET', path, headers: {} });

export function post(path: string, accountId: string, body: string, headers: Record<string, string> = {}): Outgoing {
  const length = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) };
  return { method: 'POST', path, headers: { ...authorizationOf(accountId), ...length, ...headers }, body };
}

/** A charge under a key of its own; an ordinary one unless a body is given. */
export const charge = (accountId: string, key: string, body = CHARGE_BODY): Outgoing =>
  post('/charges', accountId, body, { 'idempotency-key': key });

/** A charge that the simulated bank answers as it answers that test token. */
export const chargeWithToken = (accountId: string, key: string, source: string): Outgoing =>
  charge(accountId, key, JSON.stringify({ ...CHARGE, source }));

/** Sends requests to one server over connections that it keeps. Their number is the largest number of requests in flight. */
export class Sender {
  private readonly to: { hostname: string; port: string; agent: Agent; timeout: number };

  /** @param url without a path */
  constructor(url: string) {
    const { hostname, port } = new URL(url);
    // By default an agent closes all but 256 of the connections that no request uses.
    const agent = new Agent({ keepAlive: true, maxFreeSockets: Infinity });
    this.to = { hostname, port, agent, timeout: TIMEOUT_MS };
  }

  /** @returns the status of the answer, once all of it has come, or 'none' if the connection broke or timed out */
  send({ body, ...outgoing }: Outgoing): Promise<number | 'none'> {
    return new Promise((resolve) => {
      const sent = request({ ...outgoing, ...this.to }, (incoming) => {
        incoming.resume().once('end', () => resolve(incoming.statusCode ?? 'none'));
        incoming.once('error', () => resolve('none'));
      });
      sent.once('timeout', () => sent.destroy()).on('error', () => resolve('none'));
      sent.end(body);
    });
  }

  /** Breaks all connections. */
  end(): void {
    this.to.agent.destroy();
  }
}
