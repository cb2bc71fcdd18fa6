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

// A request id that a proxy may have set. The id is logged, so other characters could forge a log line. Card data is not accepted.
const REQUEST_ID = /^[\w.-]{1,64}$/;

/**
 * Maximum number of headers, more than any proxy sends. Node drops the headers after the 1,000th without an error, and an operation with an
 * optional key must not run without a key that the client sent.
 */
const MAX_HEADERS = 200;

/** Creates the HTTP server below Nest, with limits, one log line for each request, and problem details instead of Fastify's own errors. */
export function createFastifyAdapter(logger: Logger, underWay: RequestsUnderWay): FastifyAdapter {
  const adapter = new FastifyAdapter({
    loggerInstance: logger,
    // The onResponse hook below writes one line for each request.
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    genReqId,
    // A logger for each request would cost more than its one line, and the line names the request itself.
    childLoggerFactory: (logger: FastifyBaseLogger) => logger,
    bodyLimit: BODY_LIMIT_BYTES,
    // Room for an idempotency key in the path with every character percent-encoded.
    routerOptions: { maxParamLength: 3 * IDEMPOTENCY_KEY_MAX_LENGTH },
    // The service uses no Nest middleware, so it does not need the layer that runs middleware.
    skipMiddie: true,
    // When the server closes, the drain has waited for every answer. The remaining connections have sent no request or a part of a request.
    // Node counts them as active and stops checking its time limits, so they would keep the server open.
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
    // Log the route and not the URL, because a URL may contain keys and ids. Never log headers or bodies.
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
 * Answers 405 with `Allow` if a path exists but does not support the method. Call it before any route is added.
 *
 * @returns a function that adds these answers. Call it after all routes are added.
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
      // Refuse in the first hook, so that neither the body nor the API key is read.
      fastify.route({ url, method: others, onRequest: refuse, handler: refuse });
    }
  };
}
