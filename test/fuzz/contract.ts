import { expect } from '@jest/globals';
import type { ProblemCode } from '../../src/http/problem.js';
import type { Account } from '../support/client.js';
import { type Answer, expectProblem } from '../support/wire.js';
import * as customers from './customers.contract.js';
import * as orders from './orders.contract.js';
import * as charges from './charges.contract.js';
import * as refunds from './refunds.contract.js';
import { pathOf, type Request } from './requests.js';
import { copyOf, type Ledger, type Recorded } from './ledger.js';

/** A request, its value of If-Match, the replica that received it, and the answer. */
export interface Exchange {
  request: Request;
  tag: string | undefined;
  /** Index of the replica. */
  replica: number;
  answer: Answer;
}

export type State = Record<Account, Ledger>;

/**
 * Explains the answers to concurrent requests: finds every sequence of them in which each answer is what the contract says.
 *
 * @param possible the states that are possible before the requests
 * @returns the states that are possible after them; for example two, if two requests set a stock and either may have been last
 * @throws the first contradiction to the contract, if there is no such sequence
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
 * The exchanges that were attempts of their own. A duplicate that waited in the same process for another request shares the
 * failure of that request. A shared failure is recognised only by its text.
 */
export const attemptsOf = (exchanges: readonly Exchange[]): Exchange[] =>
  exchanges.filter((exchange, i) => !exchanges.slice(0, i).some((earlier) => sharesFailure(exchange, earlier)));

const sharesFailure = (one: Exchange, other: Exchange) =>
  one.answer.status === 504 &&
  one.replica === other.replica &&
  one.request === other.request &&
  one.answer.text === other.answer.text;

/**
 * Keeps the states that agree with an observation.
 *
 * @param observe throws if a state disagrees; may update its copy of the state
 * @throws the first error of `observe`, if no state agrees
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

/** Compares an answer with the contract, and notes the effect of the request in the ledger. */
function judge(ledger: Ledger, exchange: Exchange): void {
  const { request, tag, answer } = exchange;
  const { key } = request;
  const held = key === undefined ? undefined : ledger.keys.get(key);
  const identity = `${request.method} ${pathOf(request)} ${JSON.stringify(request.body)} ${tag}`;
  const refusals = refusalsOf(exchange);
  if (refusals.length > 0) return expectRefused(answer, refusals);

  if (held && held.identity !== identity) return void expectProblem(answer, 422, 'idempotency_key_reused');
  if (key !== undefined && held?.reply) return expectReplay(ledger, key, held, answer);

  expect(answer.headers['idempotent-replayed']).toBeUndefined();
  const isFinal = judgeEffect(ledger, exchange, held !== undefined);
  if (key === undefined) return;
  const operation = operationOf(request);
  ledger.keys.set(key, { identity, operation, body: request.body, reply: isFinal ? replyOf(answer) : undefined });
  ledger.expired.delete(key);
}

function operationOf({ method, resource, id }: Request): string {
  if (resource === 'refunds') return `${method} /charges/:id/refunds`;
  return `${method} /${resource}${id === undefined ? '' : '/:id'}`;
}

/** @returns true if the answer is final, so that it is recorded if the request has a key */
function judgeEffect(ledger: Ledger, { request, tag, answer }: Exchange, isResumed: boolean): boolean {
  switch (request.resource) {
    case 'charges':
      if (request.method === 'POST') return charges.judge(ledger, request, answer, isResumed);
      refunds.judgeCharge(ledger, request, answer);
      return true;
    case 'refunds':
      return refunds.judge(ledger, request, answer, isResumed);
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

/** The errors of the request itself, which do not depend on earlier requests. A request with such an error is not recorded. */
function refusalsOf({ request: { method, resource, keyHeaders, key, refusal, ifMatch } }: Exchange): ProblemCode[] {
  const refusals: ProblemCode[] = refusal ? [refusal] : [];
  if (keyHeaders.length > 0 && key === undefined) refusals.push('idempotency_key_invalid');
  const needsKey = method === 'POST' && (resource === 'charges' || resource === 'refunds');
  if (needsKey && keyHeaders.length === 0) refusals.push('idempotency_key_missing');
  if (ifMatch === 'malformed') refusals.push('validation_failed');
  else if (method === 'PATCH' && (ifMatch === undefined || ifMatch === '*')) refusals.push('version_required');
  return refusals;
}

/** Expects one of the errors. The contract does not say which of several errors the answer names. */
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

function expectReplay(ledger: Ledger, key: string, held: Recorded, answer: Answer): void {
  expect(answer.headers['idempotent-replayed']).toBe('true');
  // Recovery has finished the request, so its reply has not been seen yet.
  if (held.reply === 'unseen') {
    if (held.operation === 'POST /charges') charges.see(ledger, held.body, answer);
    else refunds.seeRecovered(ledger, key, held.body, answer);
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
