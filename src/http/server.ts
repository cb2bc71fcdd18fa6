import { createServer, STATUS_CODES, type RequestListener, type Server } from 'node:http';
import type { Socket } from 'node:net';
import { Problem } from './problem.js';
import type { RequestsUnderWay } from './requests-under-way.js';

/** Time for a whole request. A slower client gets 408, because it occupies a connection without being served. */
const REQUEST_TIMEOUT_MS = 30_000;
/** Time for the head of a request, which has at most 16 KiB. The limit also ends connections on which a client sends nothing. */
const HEADERS_TIMEOUT_MS = 10_000;
/** Maximum delay of the two limits above, because Node checks all connections in this interval. */
const CONNECTIONS_CHECK_INTERVAL_MS = 5_000;
/** Longer than the minute after which common load balancers close an idle connection, so that the load balancer closes first. */
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
/** Further connections are closed at once, because each takes memory and a file descriptor even if it is idle. */
const MAX_CONNECTIONS = 10_000;
/**
 * Time in which a client must read some of its answer. After that the connection is destroyed, because the answer occupies memory or an open
 * file. More than {@link HEADERS_TIMEOUT_MS} plus the interval of its checks, so that a connection without an answer gets a 408 first.
 */
const UNREAD_TIMEOUT_MS = 20_000;
/** The code of Node's error for both limits on a request. */
const REQUEST_TIMEOUT_ERROR = 'ERR_HTTP_REQUEST_TIMEOUT';
/** How long a connection stays half open after its last answer, so that the client can read it. */
const LINGER_MS = 1_000;

/** Creates the HTTP server below Fastify, with limits on the time, the number and the memory of connections. */
export function createHttpServer(handler: RequestListener, underWay: RequestsUnderWay): Server {
  const server = createServer(
    {
      ServerResponse: underWay.Response,
      requestTimeout: REQUEST_TIMEOUT_MS,
      headersTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: CONNECTIONS_CHECK_INTERVAL_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    },
    handler,
  );
  server.maxConnections = MAX_CONNECTIONS;
  // Node also emits this event for an idle connection that is kept alive, after KEEP_ALIVE_TIMEOUT_MS. The connection of a working handler stays
  // open, because its client has nothing to read yet.
  server.setTimeout(UNREAD_TIMEOUT_MS, (connection: Socket) => {
    if (underWay.isWaitingForClient(connection)) connection.destroy();
  });
  return server;
}

/**
 * Answers a connection from which no request can be read: 408 if the request did not arrive in time, otherwise 400, because the bytes are not
 * HTTP.
 *
 * Invariant: an answer never says more than the server knows. If a request on the same connection may have started, its client would take
 * this answer for the answer to that request, so the connection is closed without an answer. No byte of the connection is read after the
 * answer, because the rest of a request that was answered with 408 could still arrive and be executed.
 */
export function answerUnreadable(error: NodeJS.ErrnoException, connection: Socket, underWay: RequestsUnderWay): void {
  // A client may connect before it has a request. It would take an answer for the answer to the request that it sends later.
  if (underWay.mayHaveStarted(connection) || connection.bytesRead === 0) return void connection.destroy();
  // The connection was answered before, or it is closed.
  if (!connection.writable) return;
  if (error.code === REQUEST_TIMEOUT_ERROR) {
    // The client's kernel has acknowledged all earlier bytes of the connection, so our kernel accepts these few bytes at once.
    connection.write(responseOf(requestTooSlow()));
    return void connection.destroy();
  }
  // Node's parser reads nothing after its first error.
  connection.end(responseOf(new Problem('malformed_request', 'Expected a well-formed HTTP request.')));
  setTimeout(() => connection.destroy(), LINGER_MS).unref();
}

const requestTooSlow = () =>
  new Problem(
    'request_timeout',
    `Expected the headers within ${HEADERS_TIMEOUT_MS / 1000} s and the whole request within ${REQUEST_TIMEOUT_MS / 1000} s.`,
    { retryAfterSeconds: 1 },
  );

function responseOf(problem: Problem): string {
  const { status, body, headers } = problem.toReply();
  const text = JSON.stringify(body);
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${Buffer.byteLength(text)}`,
    'Connection: close',
    '',
    text,
  ].join('\r\n');
}
