import { Injectable } from '@nestjs/common';
import type { FastifyInstance, onRequestHookHandler } from 'fastify';
import { Problem } from '../http/problem.js';
import type { RequestsUnderWay } from '../http/requests-under-way.js';

/**
 * The end of a server: it refuses new requests and answers those that have started.
 *
 * A request whose body is incomplete has not started and is not waited for. Its handler must not start later, when the database may be
 * closed, so it is refused a second time when its body is complete.
 */
@Injectable()
export class Drain {
  private underWay: RequestsUnderWay | undefined;
  private draining = false;

  /** Adds the drain to a server. Call it before the server listens. */
  observe(fastify: FastifyInstance, underWay: RequestsUnderWay): void {
    this.underWay = underWay;
    const refuse: onRequestHookHandler = (request, _reply, done) => {
      const refused = this.draining && !request.url.startsWith('/health/');
      done(refused ? shuttingDown() : undefined);
    };
    fastify.addHook('onRequest', refuse);
    fastify.addHook('preValidation', refuse);
    fastify.addHook('onSend', (_request, reply, payload, done) => {
      // A connection that is kept alive would otherwise delay the end of the server.
      if (this.draining) void reply.header('connection', 'close');
      done(null, payload);
    });
  }

  /** Whether new requests are refused. */
  get started(): boolean {
    return this.draining;
  }

  /** Refuses new requests from now on. Resolves when every request that has started is answered. */
  async start(): Promise<void> {
    this.draining = true;
    await this.underWay?.over();
  }
}

export const shuttingDown = () =>
  new Problem('shutting_down', 'This server is shutting down, and nothing was started.', { retryAfterSeconds: 1 });
