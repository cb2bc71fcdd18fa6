import { createServer, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { Problem, PROBLEM_MEDIA_TYPE } from './problem.js';
import type { RequestsUnderWay } from './requests-under-way.js';

/** A client that sends its request more slowly only holds a connection. */
const REQUEST_TIMEOUT_MS = 30_000;
/** The head of a request has at most 16 KiB. This also ends connections on which nothing is ever sent. */
const HEADERS_TIMEOUT_MS = 10_000;
/** Both limits above are exceeded by at most this, because Node looks at all connections at once. */
const CONNECTIONS_CHECK_INTERVAL_MS = 5_000;
/** Longer than the minute after which common load balancers close an idle connection, so that the server never closes first. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
/** Further connections are closed at once, because each takes memory and a file descriptor even if it is idle. */
const MAX_CONNECTIONS = 10_000;
/** How long a connection stays half open after its last answer, so that the client can read it. */
const LINGER_MS = 1_000;

/** Creates the HTTP server below Fastify, with a limit on everything that a connection can hold. */
export function createHttpServer(handler: RequestListener, { Response }: RequestsUnderWay): Server {
  const server = createServer(
    {
      ServerResponse: Response,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CONNECTIONS_CHECK_INTERVAL_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    },
    handler,
  );
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

/**
 * Answers bytes that are not HTTP with 400.
 *
 * An answer never claims more than is known: if a request on the same connection may have started, its client would take
 * this answer for the answer to that request, so the connection is closed without one.
 */
export function answerMalformed(connection: Socket, underWay: RequestsUnderWay): void {
  if (underWay.mayHaveStarted(connection)) return void connection.destroy();
  // Answered before, or gone.
  if (!connection.writable) return;
  const { body } = new Problem('malformed_request', 'Expected a well-formed HTTP request.');
  const text = JSON.stringify(body);
  connection.end(
    `HTTP/1.1 400 Bad Request\r\nContent-Type: ${PROBLEM_MEDIA_TYPE}\r\nContent-Length: ${Buffer.byteLength(text)}\r\nConnection: close\r\n\r\n${text}`,
  );
  setTimeout(() => connection.destroy(), LINGER_MS).unref();
}
