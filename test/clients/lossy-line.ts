import { Agent, createServer, type IncomingMessage, request as httpRequest, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { HeldBank } from './held-bank.js';
import type { Damage } from './losses.js';

/** One request of a client, as the line saw it. */
export interface Attempt {
  readonly arrivedAtMs: number;
  /** The status of the reply; missing unless the whole reply was sent to the client. */
  status?: number;
  /** The header Retry-After of this reply. */
  retryAfterSeconds?: number;
  answeredAtMs?: number;
}

interface Reply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** Headers that belong to one connection, so a proxy does not pass them on (RFC 9110 §7.6.1). */
const OF_CONNECTION = ['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'http2-settings'];

const OF_A_PROXY: Reply = {
  status: 502,
  headers: { 'content-type': 'application/json' },
  body: Buffer.from('{"message":"Bad Gateway"}'),
};

/** An HTTP proxy on loopback, between the service and its clients, that damages the answers to requests with planned keys. */
export class LossyLine {
  private readonly plans = new Map<string, Damage[]>();
  private readonly seen = new Map<string, Attempt[]>();
  private readonly agent = new Agent({ keepAlive: true });
  private readonly server = createServer((request, response) => {
    response.on('error', () => undefined);
    this.pass(request, response).catch(() => response.destroy());
  });

  private constructor(
    private readonly serviceUrl: string,
    private readonly bank: HeldBank,
  ) {}

  /** @param bank of the service, which holds its answers until the line releases them */
  static async start(serviceUrl: string, bank: HeldBank): Promise<LossyLine> {
    const line = new LossyLine(serviceUrl, bank);
    await new Promise<void>((resolve) => line.server.listen(0, '127.0.0.1', resolve));
    return line;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Damages the first attempts with this idempotency key, in this order. */
  plan(key: string, damages: readonly Damage[]): void {
    this.plans.set(key, [...damages]);
  }

  /** The attempts with this idempotency key, in the order of their arrival. */
  attempts(key: string): readonly Attempt[] {
    return this.seen.get(key) ?? [];
  }

  async close(): Promise<void> {
    this.agent.destroy();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(request);
    const key = String(request.headers['idempotency-key']);
    const attempt: Attempt = { arrivedAtMs: performance.now() };
    this.seen.set(key, [...this.attempts(key), attempt]);
    const damage = this.plans.get(key)?.shift();
    const reply = this.forward(request, body);
    // The client may have gone, or gets no reply, before the service answers.
    reply.catch(() => undefined);
    switch (damage) {
      case undefined:
        return answer(attempt, response, await reply);
      case 'doubled':
        answer(attempt, response, await Promise.race([reply, this.forward(request, body)]));
        return this.bank.release((JSON.parse(body.toString()) as { amount: number }).amount);
      case 'replaced':
        await reply;
        return answer(attempt, response, OF_A_PROXY);
      case 'lost':
        await reply;
        response.socket?.resetAndDestroy();
        return;
      case 'half':
        return answerHalf(response, await reply);
      case 'broken':
        response.socket?.resetAndDestroy();
        return;
      case 'silent':
        return;
    }
  }

  private forward({ method, url, headers }: IncomingMessage, body: Buffer): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const options = { method, headers: passedOn(headers), agent: this.agent };
      const outgoing = httpRequest(new URL(url ?? '/', this.serviceUrl), options, (incoming) => {
        const { statusCode: status = 0, headers } = incoming;
        buffer(incoming).then((body) => resolve({ status, headers: passedOn(headers), body }), reject);
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}

const passedOn = (headers: Reply['headers']): Reply['headers'] =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !OF_CONNECTION.includes(name)));

function answer(attempt: Attempt, response: ServerResponse, { status, headers, body }: Reply): void {
  if (response.destroyed) return;
  // Noted before the reply is sent, because the client may retry before this process runs again.
  Object.assign(attempt, {
    status,
    retryAfterSeconds: Number(headers['retry-after'] ?? 0),
    answeredAtMs: performance.now(),
  });
  response.writeHead(status, headers).end(body);
}

/** Sends half of the body and then the end of the connection. A reset could overtake the half, so that the whole reply would be lost. */
function answerHalf(response: ServerResponse, { status, headers, body }: Reply): void {
  response.writeHead(status, { ...headers, 'content-length': body.length });
  response.write(body.subarray(0, body.length / 2), () => response.socket?.destroySoon());
}
