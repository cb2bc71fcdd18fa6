// Goal: prove that RATE_LIMIT_PER_SECOND bounds each account, and that a refused request has no effect.
// Method: send ten requests at once until some are refused, and compare the answers with the keys and captures.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Response } from 'supertest';
import { call, type Call, isReplay, TWO_ACCOUNTS } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, ONE_CHARGE, reset } from '../support/state.js';
import { until } from '../support/waiting.js';
import { type Answer, expectProblem, JSON_TYPE, send } from '../support/wire.js';

let database: TestDatabase;
/** Accepts one request of each account per second. */
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, { ...TWO_ACCOUNTS, RATE_LIMIT_PER_SECOND: '1' });
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const ask = (method: string, path: string, options: Call = {}) => call(service.url, method, path, options);

/** Sends ten requests at once, repeatedly, until some answers are 429 and some are not. */
async function exceed<Sent extends { status: number }>(sendOne: (i: number) => Promise<Sent>): Promise<Sent[]> {
  const answers: Sent[] = [];
  await until(async () => {
    const from = answers.length;
    answers.push(...(await Promise.all(Array.from({ length: 10 }, (_, i) => sendOne(from + i)))));
    return new Set(answers.map(({ status }) => status === 429)).size === 2;
  });
  return answers;
}

const isRefused = ({ status }: { status: number }) => status === 429;

function expectRefused(answer: Answer): void {
  const problem = expectProblem(answer, 429, 'rate_limited');
  expect(problem).toMatchObject({ retryable: true, outcome: 'not_started' });
  expect(answer.headers['retry-after']).toBe('1');
}

describe('an account that sends more requests than RATE_LIMIT_PER_SECOND', () => {
  it('answers 429 to charges beyond the rate limit, and neither charges nor records them', async () => {
    const answers = await exceed(async (i) => ({
      i,
      ...replyTo(await ask('POST', '/charges', { key: `key_${i}`, body: CHARGE })),
    }));
    answers.filter(isRefused).forEach(expectRefused);
    const charged = answers.filter(({ status }) => status === 200).map(({ i }) => `key_${i}`);
    expect(charged.length + answers.filter(isRefused).length).toBe(answers.length);
    const keys = await database.sql<{ idempotency_key: string }>('SELECT idempotency_key FROM processed_requests');
    expect(keys.map(({ idempotency_key }) => idempotency_key).sort()).toEqual(charged.sort());
    expect((await effects(database)).captures).toBe(charged.length);
  });

  it('answers 429 to replays beyond the rate limit', async () => {
    const answers = await exceed(() => ask('POST', '/charges', { key: 'order_1', body: CHARGE }));
    answers.filter(isRefused).forEach(expectRefused);
    const first = answers.filter((answer) => !isRefused(answer) && !isReplay(answer));
    expect(first).toHaveLength(1);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('accepts a request that was refused by the rate limit when it is sent again later', async () => {
    await exceed(() => ask('GET', '/charges'));
    let answer: Response | undefined;
    await until(async () => (answer = await ask('POST', '/charges', { key: 'order_1', body: CHARGE })).status !== 429);
    expect(answer?.status).toBe(200);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it.each([
    ['key', ['Idempotency-Key', 'not a key'], JSON.stringify(CHARGE), 'idempotency_key_invalid'],
    ['body', ['Idempotency-Key', 'order_1'], '{', 'malformed_json'],
  ] as const)('answers 429 before it checks the %s of a request', async (_, headers, body, code) => {
    const authorized = [...JSON_TYPE, 'Authorization', 'Bearer sk_a', ...headers];
    const answers = await exceed(() => send(service.url, { headers: authorized, body }));
    for (const answer of answers) {
      if (isRefused(answer)) expectRefused(answer);
      else expectProblem(answer, 400, code);
    }
  });

  it('does not count the requests of one account against the rate limit of another', async () => {
    const answers = await exceed(() => ask('GET', '/charges'));
    expect(answers.some(isRefused)).toBe(true);
    expect((await ask('POST', '/charges', { account: 'acct_b', key: 'order_1', body: CHARGE })).status).toBe(200);
  });
});

describe('RATE_LIMIT_PER_SECOND', () => {
  const statuses = async (sendOne: () => Promise<{ status: number }>) =>
    new Set((await Promise.all(Array.from({ length: 20 }, sendOne))).map(({ status }) => status));

  it('does not limit public routes', async () => {
    expect(await statuses(() => send(service.url, { method: 'GET', path: '/health/live' }))).toEqual(new Set([200]));
  });

  it('does not limit requests without an API key, which get 401', async () => {
    expect(await statuses(() => send(service.url, { headers: JSON_TYPE, body: '{}' }))).toEqual(new Set([401]));
  });

  it('has no rate limit by default', async () => {
    const unlimited = await startService(database.url);
    expect(await statuses(() => send(unlimited.url, { method: 'GET' }))).toEqual(new Set([200]));
    await unlimited.stop();
  });
});

const replyTo = ({ status, text, headers }: Response): Answer => ({
  status,
  text,
  headers,
});
