import { expect } from '@jest/globals';
import { type Answer, expectProblem } from '../support/wire.js';
import type { Ledger } from './ledger.js';
import type { Json, Request } from './requests.js';

/** Judges PUT, PATCH, GET and DELETE of customers. @param tag the value of If-Match */
export function judge(ledger: Ledger, request: Request, tag: string | undefined, answer: Answer): void {
  const { method, id = '', body = {} } = request;
  const held = ledger.customers.get(id) ?? { version: 0, content: undefined };
  const { content, version } = held;
  const isMeant = content !== undefined && (tag === undefined || tag === '*' || tag === `"${version}"`);
  switch (method) {
    case 'GET':
      if (!content) return void expectProblem(answer, 404, 'not_found');
      expectCustomer(id, content, answer, 200);
      expect(versionOf(answer)).toBe(version);
      return;
    case 'DELETE':
      if (content && !isMeant) return expectMismatch(answer);
      expect([answer.status, answer.text]).toEqual([204, '']);
      if (content) ledger.customers.set(id, { version, content: undefined });
      return;
    case 'PATCH':
      if (!content) return void expectProblem(answer, 404, 'not_found');
      if (!isMeant) return expectMismatch(answer);
      return change({ ...content, ...body }, 200);
    case 'POST':
    case 'PUT':
      if (tag !== undefined && !isMeant) return expectMismatch(answer);
      if (!content || JSON.stringify(content) !== JSON.stringify(body)) return change(body, content ? 200 : 201);
      expectCustomer(id, content, answer, 200);
      expect(versionOf(answer)).toBe(version);
  }

  /** Stores the new content. The version may be any larger number, because several changes may have been sent at once. */
  function change(to: Record<string, Json>, status: number): void {
    expectCustomer(id, to, answer, status);
    expect(versionOf(answer)).toBeGreaterThan(version);
    ledger.customers.set(id, { version: versionOf(answer), content: to });
  }
}

const versionOf = ({ text }: Answer) => (JSON.parse(text) as { version: number }).version;

const expectMismatch = (answer: Answer) =>
  void expect(expectProblem(answer, 412, 'version_mismatch')['outcome']).toBe('final');

function expectCustomer(id: string, content: Record<string, Json>, answer: Answer, status: number): void {
  expect(answer.status).toBe(status);
  expect(JSON.parse(answer.text)).toEqual({ id, object: 'customer', ...content, version: expect.any(Number) });
  expect(answer.headers['etag']).toBe(`"${versionOf(answer)}"`);
}
