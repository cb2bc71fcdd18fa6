import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener } from 'node:http';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Logger } from 'pino';
import { IDEMPOTENCY_KEY_MAX_LENGTH } from '../idempotency/index.js';
import { holdsCardData } from './card-data.js';
import { acceptJsonOnly, BODY_LIMIT_BYTES } from './json-body.js';
import { sendProblem, toProblem } from './problem.filter.js';
import { Problem } from './problem.js';
import type { RequestsUnderWay } from './requests-under-way.js';
import { answerUnreadable, createHttpServer } from './server.js';

// An id that a proxy may have given the request. It is in the log, so other characters could forge a line, and card data is refused.
const REQUEST_ID = /^[\w.-]{1,64}$/;

/**
 * More than any proxy sends. Node drops the headers behind the 1,000th in silence, and an operation whose key is optional
 * must not run without a key that was sent.
 */
const MAX_HEADERS = 200;

/** The HTTP server below Nest: its limits, its log lines, and an answer of ours wherever Fastify has one of its own. */
export function createFastifyAdapter(logger: Logger, underWay: RequestsUnderWay): FastifyAdapter {
  const adapter = new FastifyAdapter({
    loggerInstance: logger,
    // One line for each request, written below.
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    genReqId,
    // Not a logger for each request, which costs more than its one line: that names the request itself.
    childLoggerFactory: (logger: FastifyBaseLogger) => logger,
    bodyLimit: BODY_LIMIT_BYTES,
    // An idempotency key in the path, each of its characters percent-encoded.
    routerOptions: { maxParamLength: 3 * IDEMPOTENCY_KEY_MAX_LENGTH },
    // No Nest middleware is used, so the layer that runs it is left out.
    skipMiddie: true,
    // At shutdown, the drain has waited for all that was to be answered. What is left has sent no request or a part of one: Node
    // counts such a connection as active, and looks at no time limit any more once the server closes.
    forceCloseConnections: true,
    return503OnClosing: false,
    frameworkErrors: (error: Error, request: FastifyRequest, reply: FastifyReply) =>
      sendProblem(reply, toProblem(error, request.method)),
    serverFactory: (handler: RequestListener) => createHttpServer(handler, underWay),
    clientErrorHandler: (error, socket) => answerUnreadable(error, socket, underWay),
  });
  const fastify = adapter.getInstance<FastifyInstance>();
  acceptJsonOnly(fastify);
  fastify.addHook('onRequest', (request, reply, done) => {
    void reply.header('x-request-id', request.id);
    done(request.raw.rawHeaders.length > 2 * MAX_HEADERS ? tooManyHeaders() : undefined);
  });
  fastify.addHook('onResponse', (request, reply, done) => {
    if (!logger.isLevelEnabled('info')) return done();
    // The route rather than the URL, which may hold keys and ids. Never headers, never bodies.
    const { id: reqId, method, routeOptions, accountId } = request;
    const replayed = reply.getHeader('idempotent-replayed') === 'true' || undefined;
    const line = {
      reqId,
      method,
      route: routeOptions.url,
      accountId,
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime),
      replayed,
    };
    request.log.info(line, 'answered');
    done();
  });
  return adapter;
}

const tooManyHeaders = () => new Problem('malformed_request', `Expected at most ${MAX_HEADERS} headers.`);

function genReqId({ headers }: IncomingMessage): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && REQUEST_ID.test(given) && !holdsCardData(given) ? given : randomUUID();
}

/**
 * Answers 405 with `Allow` where a path exists and the method does not. Call it before any route is added.
 *
 * @returns adds the answers; call it once all routes are there
 */
export function answerOtherMethods(fastify: FastifyInstance): () => void {
  const methods = new Map<string, Set<string>>();
  fastify.addHook('onRoute', ({ url, method }) => {
    const known = methods.get(url) ?? new Set();
    [method].flat().forEach((name) => known.add(name));
    methods.set(url, known);
  });
  return () => {
    for (const [url, known] of [...methods]) {
      const allow = [...known].join(', ');
      const refuse = (request: FastifyRequest) => {
        throw new Problem('method_not_allowed', `Expected one of ${allow}, not ${request.method}.`, {
          headers: { allow },
        });
      };
      const others = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'].filter((name) => !known.has(name));
      // In the first hook, so that neither the body nor the API key is looked at.
      fastify.route({ url, method: others, onRequest: refuse, handler: refuse });
    }
  };
}
