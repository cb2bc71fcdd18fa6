import * as http from 'node:http';
import * as https from 'node:https';
import { text } from 'node:stream/consumers';

/** A request as it is sent. */
export interface SentRequest {
  readonly method: string;
  readonly url: string;
  /** Alternating names and values. */
  readonly headers: readonly string[];
  readonly body: string;
  /** The account whose credentials the headers contain. */
  readonly account: 'first' | 'other';
}

export interface Answer {
  readonly request: SentRequest;
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

/** A request was not answered, because the service cannot be reached or is stuck. */
export class NoAnswer extends Error {
  constructor(
    message: string,
    readonly request: SentRequest,
  ) {
    super(message);
  }
}

/**
 * Sends a request, and never sends it again.
 *
 * @throws NoAnswer if the service cannot be reached, or does not answer within `timeoutMs`
 */
export function exchange(request: SentRequest, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) =>
      reject(new NoAnswer(`${new URL(request.url).origin} does not answer: ${error.message}`, request));
    const outgoing = open(request, timeoutMs, (incoming) => {
      text(incoming).then(
        (received) => resolve({ request, status: incoming.statusCode ?? 0, headers: incoming.headers, text: received }),
        fail,
      );
    });
    outgoing.on('error', fail);
    outgoing.end(request.body);
  });
}

/** Opens a request whose body the caller writes. */
export function open(
  { method, url, headers }: SentRequest,
  timeoutMs: number,
  onResponse: (incoming: http.IncomingMessage) => void,
): http.ClientRequest {
  const { protocol, host } = new URL(url);
  // Node sends an array of headers unchanged, so a header can be sent twice, and Host and Connection have to be added here. Each request has a
  // connection of its own, so that requests that are sent at once really arrive at once.
  const names = new Set(headers.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase()));
  const own = [
    ...(names.has('host') ? [] : ['Host', host]),
    ...(names.has('connection') ? [] : ['Connection', 'close']),
  ];
  const options = { method, headers: [...own, ...headers], agent: false, timeout: timeoutMs };
  const request = (protocol === 'https:' ? https : http).request(url, options, onResponse);
  request.on('timeout', () => request.destroy(new Error(`no answer in ${timeoutMs} ms`)));
  return request;
}
