import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect } from '@jest/globals';
import type { ProblemCode } from '../../src/http/problem.js';

/** A request exactly as it is sent: headers may repeat, and the body may be any bytes. */
export interface WireRequest {
  method?: string;
  path?: string;
  /** Alternating names and values. */
  headers?: string[];
  body?: string | Buffer;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

export const JSON_TYPE = ['Content-Type', 'application/json'];

/** Sends a request without the corrections of an HTTP library. The default is `POST /charges`. */
export function send(url: string, wire: WireRequest): Promise<Answer> {
  const { method = 'POST', path = '/charges', headers = [], body = '' } = wire;
  const { host, hostname, port } = new URL(url);
  // Node sends an array of headers unchanged, and adds none.
  const framing = ['Host', host, 'Content-Length', String(Buffer.byteLength(body)), 'Connection', 'close'];
  return new Promise((resolve, reject) => {
    const outgoing = request({ hostname, port, method, path, headers: [...framing, ...headers] }, (incoming) => {
      text(incoming).then(
        (received) => resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text: received }),
        reject,
      );
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Sends bytes that need not be valid HTTP, and returns the answer. */
export async function sendBytes(url: string, bytes: string): Promise<Answer> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.end(bytes);
  const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => line.toLowerCase().split(': ') as [string, string]));
  return { status: Number(statusLine.split(' ')[1]), headers, text: body };
}

/** Internal details that no answer may contain: stacks, SQL, file names, names of tables and of libraries. */
const INTERNALS =
  /\n\s+at |\b(?:SELECT|INSERT|UPDATE|DELETE)\b.*\b(?:FROM|INTO|SET)\b|node_modules|file:\/\/|\.[jt]s\b|processed_requests|relation "|column "|TypeORM|QueryFailed|Error:/;

/** Expects a problem of RFC 9457 with the members `code`, `retryable` and `outcome`, and without internal details. */
export function expectProblem(answer: Answer, status: number, code: ProblemCode): Record<string, unknown> {
  expect({ status: answer.status, type: answer.headers['content-type'] }).toEqual({
    status,
    type: 'application/problem+json; charset=utf-8',
  });
  expect(answer.text).not.toMatch(INTERNALS);
  const problem = JSON.parse(answer.text) as Record<string, unknown>;
  expect(problem).toMatchObject({ type: `/docs/errors#${code}`, status, code });
  expect(problem['title']).toMatch(/\w/);
  expect(problem['detail']).toMatch(/\w/);
  expect(['not_started', 'unknown', 'final']).toContain(problem['outcome']);
  expect(problem['retryable']).toBe(answer.headers['retry-after'] !== undefined);
  expect(answer.headers['idempotent-replayed']).toBeUndefined();
  return problem;
}
