import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Response } from 'supertest';
import { call, isReplay, TWO_ACCOUNTS } from './support/client.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { CHARGE, startService, type TestService } from './support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from './support/state.js';
import { until } from './support/waiting.js';
import { expectProblem } from './support/wire.js';

let database: TestDatabase;
/** One request a second, so that a test reaches the limit of an account by sending a few at once. */
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, { ...TWO_ACCOUNTS, RATE_LIMIT_PER_SECOND: '1' });
});
afterEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

/** Sends a request of acct_a until the limit refuses it. Those before it are answered, which uses the limit up. */
async function refused(send: () => Promise<Response>): Promise<Response> {
  let last: Response | undefined;
  await until(async () => (last = (await Promise.all([send(), send(), send()])).at(-1))?.status === 429);
  return last as Response;
}

const list = () => call(service.url, 'GET', '/charges');

describe('a rate limit', () => {
  it('answers 429 rate_limited with Retry-After to the account that is over the limit', async () => {
    const response = await refused(list);
    const problem = expectProblem(response, 429, 'rate_limited');
    expect(problem).toMatchObject({ retryable: true, outcome: 'not_started' });
    expect(response.headers['retry-after']).toBe('1');
  });

  it('refuses a request before its idempotency key is read, records nothing, and lets the retry be the first attempt', async () => {
    const charge = () => call(service.url, 'POST', '/charges', { key: 'limited', body: CHARGE });
    await refused(list);
    let response = await charge();
    while (response.status !== 429) {
      await reset(database);
      await refused(list);
      response = await charge();
    }
    expect(await effects(database)).toEqual(NOTHING);

    await until(async () => (response = await charge()).status !== 429);
    expect([response.status, isReplay(response)]).toEqual([200, false]);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('is decided before the key is judged, so that even a key that is not valid is 429', async () => {
    const invalid = () => call(service.url, 'POST', '/charges', { key: 'not a key', body: CHARGE });
    expectProblem(await refused(invalid), 429, 'rate_limited');
  });

  it('counts replays, because they take the time of the process as well', async () => {
    const charge = () => call(service.url, 'POST', '/charges', { key: 'replayed', body: CHARGE });
    await until(async () => (await charge()).status === 200);
    expectProblem(await refused(charge), 429, 'rate_limited');
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('belongs to one account: another account is answered while the first one is refused', async () => {
    await refused(list);
    let other: Response | undefined;
    // One that was not used for a second, because its own limit is as low.
    await until(async () => (other = await call(service.url, 'GET', '/charges', { account: 'acct_b' })).status !== 429);
    expect(other?.status).toBe(200);
  });

  it('does not count requests without an account: public pages are answered, and an unknown API key is 401', async () => {
    for (let i = 0; i < 20; i++) {
      expect((await service.http.get('/health/live')).status).toBe(200);
      expect((await service.http.get('/charges')).status).toBe(401);
    }
  });

  it('does not exist unless it is set', async () => {
    const unlimited = await startService(database.url);
    const responses = await Promise.all(Array.from({ length: 50 }, () => unlimited.http.get('/charges')));
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
    await unlimited.stop();
  });
});
