import type { FastifyInstance } from 'fastify';
import { Problem } from '../http/problem.js';

/** The end of a server: what has started is answered, what has not is refused, as long as anything is under way. */
export class Drain {
  private draining = false;
  private underWay = 0;
  private done: () => void = () => undefined;

  constructor(fastify: FastifyInstance) {
    fastify.addHook('onRequest', (request, _reply, done) => {
      this.underWay++;
      const refused = this.draining && !request.url.startsWith('/health/');
      done(refused ? shuttingDown() : undefined);
    });
    fastify.addHook('onSend', (_request, reply, payload, done) => {
      // Otherwise a kept-alive connection would hold up the end of the server.
      if (this.draining) void reply.header('connection', 'close');
      // Here the work is done, also when its client is gone; onResponse would never come then.
      if (reply.raw.closed) this.end();
      else reply.raw.once('close', () => this.end());
      done(null, payload);
    });
  }

  get started(): boolean {
    return this.draining;
  }

  /** Refuses new requests from now on. Resolves when the last one under way has been answered. */
  start(): Promise<void> {
    this.draining = true;
    return new Promise((resolve) => {
      this.done = resolve;
      if (this.underWay === 0) resolve();
    });
  }

  private end(): void {
    this.underWay--;
    if (this.draining && this.underWay === 0) this.done();
  }
}

export const shuttingDown = () =>
  new Problem('shutting_down', 'This server is shutting down; nothing was started.', { retryAfterSeconds: 1 });
