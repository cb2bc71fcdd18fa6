import { expect } from '@jest/globals';
import type { ProblemCode } from '../../src/http/problem.js';
import type { Account } from '../support/client.js';
import { type Answer, expectProblem } from '../support/wire.js';
import * as customers from './customers.contract.js';
import * as orders from './orders.contract.js';
import * as charges from './charges.contract.js';
import { pathOf, type Request } from './requests.js';
import { copyOf, type Ledger, type Recorded } from './ledger.js';

/** A request, what it said in If-Match, who was asked, and how it was answered. */
export interface Exchange {
  request: Request;
  tag: string | undefined;
  /** Its number. */
  replica: number;
  answer: Answer;
}

export type State = Record<Account, Ledger>;

/**
 * Explains the answers to requests that were sent at once: finds the orders in which each is what the contract says.
 *
 * @param possible what may be so before them
 * @returns what may be so after them: of two that set a stock, say, nobody was told who came last
 * @throws what contradicts the contract, when there is no such order
 */
export function explain(possible: readonly State[], exchanges: readonly Exchange[]): State[] {
  if (exchanges.length === 0) return distinct(possible);
  const after: State[] = [];
  let contradiction: unknown;
  for (const [i, exchange] of exchanges.entries()) {
    try {
      const judged = narrow(possible, (state) => judge(state[exchange.request.account], exchange));
      after.push(...explain(judged, exchanges.toSpliced(i, 1)));
    } catch (error) {
      contradiction ??= error;
    }
  }
  if (after.length === 0) throw contradiction;
  return distinct(after);
}

/**
 * The attempts that there were: a duplicate that has waited in one process for the one before it shares its reply, and its
 * failure too, which nothing but the answer tells of.
 */
export const attemptsOf = (exchanges: readonly Exchange[]): Exchange[] =>
  exchanges.filter((exchange, i) => !exchanges.slice(0, i).some((earlier) => sharesFailure(exchange, earlier)));

const sharesFailure = (one: Exchange, other: Exchange) =>
  one.answer.status === 504 &&
  one.replica === other.replica &&
  one.request === other.request &&
  one.answer.text === other.answer.text;

/**
 * Leaves out what cannot be so.
 *
 * @param observe throws for that; may note on its copy what has happened
 * @throws what it throws, when nothing is left
 */
export function narrow(possible: readonly State[], observe: (state: State) => void): State[] {
  const left: State[] = [];
  let contradiction: unknown;
  for (const state of possible) {
    const copy = { acct_a: copyOf(state.acct_a), acct_b: copyOf(state.acct_b) };
    try {
      observe(copy);
      left.push(copy);
    } catch (error) {
      contradiction ??= error;
    }
  }
  if (left.length === 0) throw contradiction;
  return left;
}

function distinct(states: readonly State[]): State[] {
  const entries = (_: string, value: unknown) =>
    value instanceof Map || value instanceof Set ? [...(value as Iterable<unknown>)].sort() : value;
  return [...new Map(states.map((state) => [JSON.stringify(state, entries), state])).values()];
}

/** Compares an answer with the contract, and notes what the request has done. */
function judge(ledger: Ledger, exchange: Exchange): void {
  const { request, tag, answer } = exchange;
  const { key } = request;
  const held = key === undefined ? undefined : ledger.keys.get(key);
  const identity = `${request.method} ${pathOf(request)} ${JSON.stringify(request.body)} ${tag}`;
  const refusals = refusalsOf(exchange);
  if (refusals.length > 0) return expectRefused(answer, refusals);

  if (held && held.identity !== identity) return void expectProblem(answer, 422, 'idempotency_key_reused');
  if (held?.reply) return expectReplay(ledger, held, answer);

  expect(answer.headers['idempotent-replayed']).toBeUndefined();
  const isFinal = judgeEffect(ledger, exchange, held !== undefined);
  if (key === undefined) return;
  const operation = `${request.method} /${request.resource}${request.id === undefined ? '' : '/:id'}`;
  ledger.keys.set(key, { identity, operation, body: request.body, reply: isFinal ? replyOf(answer) : undefined });
  ledger.expired.delete(key);
}

/** @returns whether the answer is final, and on record if there is a key */
function judgeEffect(ledger: Ledger, { request, tag, answer }: Exchange, isResumed: boolean): boolean {
  switch (request.resource) {
    case 'charges':
      return charges.judge(ledger, request, answer, isResumed);
    case 'orders':
      orders.judgeOrder(ledger, request, answer);
      return true;
    case 'inventory':
      orders.judgeStock(ledger, request, answer);
      return true;
    case 'customers':
      customers.judge(ledger, request, tag, answer);
      return true;
    case 'idempotency-keys':
      judgeLookUp(ledger, request.id ?? '', answer);
      return true;
  }
}

/** Everything that is wrong with a request in itself, whatever was before it. Nothing of it is recorded. */
function refusalsOf({ request: { method, resource, keyHeaders, key, refusal, ifMatch } }: Exchange): ProblemCode[] {
  const refusals: ProblemCode[] = refusal ? [refusal] : [];
  if (keyHeaders.length > 0 && key === undefined) refusals.push('idempotency_key_invalid');
  if (method === 'POST' && resource === 'charges' && keyHeaders.length === 0) refusals.push('idempotency_key_missing');
  if (ifMatch === 'malformed') refusals.push('validation_failed');
  else if (method === 'PATCH' && (ifMatch === undefined || ifMatch === '*')) refusals.push('version_required');
  return refusals;
}

/** Which of several is named first is not part of the contract. */
function expectRefused(answer: Answer, refusals: ProblemCode[]): void {
  const { code } = JSON.parse(answer.text) as { code: ProblemCode };
  expect(refusals).toContain(code);
  const problem = expectProblem(answer, code === 'version_required' ? 428 : 400, code);
  expect(problem).toMatchObject({ outcome: 'not_started', retryable: false });
}

const replyOf = ({ status, headers, text }: Answer) => ({
  status,
  text,
  type: headers['content-type'],
  etag: headers['etag'],
});

function expectReplay(ledger: Ledger, held: Recorded, answer: Answer): void {
  expect(answer.headers['idempotent-replayed']).toBe('true');
  // Finished by recovery: nobody has seen the reply yet.
  if (held.reply === 'unseen') {
    charges.see(ledger, held.body, answer);
    held.reply = replyOf(answer);
  }
  expect(replyOf(answer)).toEqual(held.reply);
}

function judgeLookUp({ keys }: Ledger, key: string, answer: Answer): void {
  const held = keys.get(key);
  if (!held) return void expectProblem(answer, 404, 'not_found');
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.text)).toEqual({
    idempotency_key: key,
    status: held.reply ? 'completed' : 'in_progress',
    operation: held.operation,
    created_at: expect.any(String),
    expires_at: expect.any(String),
  });
}
