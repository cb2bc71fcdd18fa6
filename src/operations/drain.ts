import type { FastifyInstance, onRequestHookHandler } from 'fastify';
import { Problem } from '../http/problem.js';
import type { RequestsUnderWay } from '../http/requests-under-way.js';

/**
 * The end of a server: what has started is answered, what has not is refused, as long as anything is under way.
 *
 * A request whose body is incomplete has not started and is not waited for. Its handler must not start later, when the database
 * may be closed, so it is refused once more behind its body.
 */
export class Drain {
  private draining = false;

  constructor(
    fastify: FastifyInstance,
    private readonly underWay: RequestsUnderWay,
  ) {
    const refuse: onRequestHookHandler = (request, _reply, done) => {
      const refused = this.draining && !request.url.startsWith('/health/');
      done(refused ? shuttingDown() : undefined);
    };
    fastify.addHook('onRequest', refuse);
    fastify.addHook('preValidation', refuse);
    fastify.addHook('onSend', (_request, reply, payload, done) => {
      // Otherwise a kept-alive connection would hold up the end of the server.
      if (this.draining) void reply.header('connection', 'close');
      done(null, payload);
    });
  }

  get started(): boolean {
    return this.draining;
  }

  /** Refuses new requests from now on. Resolves when the last one that has started has been answered. */
  start(): Promise<void> {
    this.draining = true;
    return this.underWay.over();
  }
}

export const shuttingDown = () =>
  new Problem('shutting_down', 'This server is shutting down; nothing was started.', { retryAfterSeconds: 1 });
