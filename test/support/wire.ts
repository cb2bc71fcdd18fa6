import { type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect } from '@jest/globals';
import type { ProblemCode } from '../../src/http/problem.js';

/** A request as it goes over the wire: headers as given, repeated or not, and the very bytes of the body. */
export interface WireRequest {
  method?: string;
  path?: string;
  /** Names and values in turn. */
  headers?: string[];
  body?: string | Buffer;
}

export interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

export const JSON_TYPE = ['Content-Type', 'application/json'];

/** Sends what an HTTP library would tidy up. `POST /charges` unless told otherwise. */
export function send(url: string, wire: WireRequest): Promise<Answer> {
  const { method = 'POST', path = '/charges', headers = [], body = '' } = wire;
  const { host, hostname, port } = new URL(url);
  // An array of headers is sent as it is, so that Node adds none.
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

/** Sends bytes that need not be HTTP, and returns the answer, which is. */
export async function sendBytes(url: string, bytes: string): Promise<Answer> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.end(bytes);
  const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
  const [statusLine = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(lines.map((line) => line.toLowerCase().split(': ') as [string, string]));
  return { status: Number(statusLine.split(' ')[1]), headers, text: body };
}

/** What would betray the insides of the service: stacks, SQL, files, names of tables and of libraries. */
const INSIDES =
  /\n\s+at |\b(?:SELECT|INSERT|UPDATE|DELETE)\b.*\b(?:FROM|INTO|SET)\b|node_modules|file:\/\/|\.[jt]s\b|processed_requests|relation "|column "|TypeORM|QueryFailed|Error:/;

/** Holds for every error, whoever made it: RFC 9457 with our three members, and nothing of the insides. */
export function expectProblem(answer: Answer, status: number, code: ProblemCode): Record<string, unknown> {
  expect({ status: answer.status, type: answer.headers['content-type'] }).toEqual({
    status,
    type: 'application/problem+json; charset=utf-8',
  });
  expect(answer.text).not.toMatch(INSIDES);
  const problem = JSON.parse(answer.text) as Record<string, unknown>;
  expect(problem).toMatchObject({ type: `/docs/errors#${code}`, status, code });
  expect(problem['title']).toMatch(/\w/);
  expect(problem['detail']).toMatch(/\w/);
  expect(['not_started', 'unknown', 'final']).toContain(problem['outcome']);
  expect(problem['retryable']).toBe(answer.headers['retry-after'] !== undefined);
  expect(answer.headers['idempotent-replayed']).toBeUndefined();
  return problem;
}
