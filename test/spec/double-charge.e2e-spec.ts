import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { request as httpRequest } from 'node:http';
import type { Response } from 'supertest';
import { Recovery, Sweeper } from '../../src/idempotency/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, holdAnswer, replyOf, startService, type TestService } from '../support/service.js';
import { effects, leaveBehind, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';

let database: TestDatabase;
let service: TestService;
/** Another replica: another application on the same database. */
let replica: TestService;

beforeAll(async () => {
  database = await createDatabase();
  const settings = { API_KEYS: 'acct_demo:sk_demo,acct_other:sk_other' };
  service = withKey(await startService(database.url, settings));
  replica = withKey(await startService(database.url, settings));
});
beforeEach(() => reset(database));
afterEach(Barrier.openAll);
afterAll(async () => {
  await service?.stop();
  await replica?.stop();
  await database?.drop();
});

const withKey = (app: TestService): TestService => ({
  ...app,
  charge: (key, body, headers) => app.charge(key, body, { authorization: 'Bearer sk_demo', ...headers }),
});

const isReplay = (response: Response) => response.headers['idempotent-replayed'] === 'true';

/** All got the same bytes, and exactly one of them first. */
function expectOneFirst(responses: Response[]): void {
  expect(responses.map(replyOf)).toEqual(responses.map(() => replyOf(responses[0] as Response)));
  expect(responses.filter((response) => !isReplay(response))).toHaveLength(1);
}

describe('the same request, sent again', () => {
  it('is charged once and answered with the same bytes', async () => {
    const first = await service.charge('order_12345');
    const second = await service.charge('order_12345');

    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({ object: 'charge', amount: 1999, currency: 'eur', status: 'succeeded' });
    expect(replyOf(second)).toEqual(replyOf(first));
    expect([first, second].map(isReplay)).toEqual([false, true]);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('leaves the database in the same state however often it is sent', async () => {
    await service.charge('often');
    const rows = () => database.sql('SELECT * FROM processed_requests, charges, bank.captures');
    const before = await rows();
    for (let i = 0; i < 10; i++) await (i % 2 ? service : replica).charge('often');
    expect(await rows()).toEqual(before);
  });

  it('is charged once when the first reply was lost on its way', async () => {
    await loseReply(service.url, 'lost');
    const retry = await service.charge('lost');
    expect(retry.status).toBe(200);
    expect(isReplay(retry)).toBe(true);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('goes on when the client hangs up, and gives the reply to the retry', async () => {
    const answer = holdAnswer(service);
    await loseReply(service.url, 'hung-up', answer.reached.given);
    const retry = service.charge('hung-up');
    answer.open();
    expect((await retry).status).toBe(200);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('is declined once, and answered with the same 402', async () => {
    const declined = { ...CHARGE, source: 'tok_chargeDeclined' };
    const responses = [await service.charge('declined', declined), await replica.charge('declined', declined)];
    expectOneFirst(responses);
    expect(responses[0]?.body).toMatchObject({
      status: 402,
      code: 'card_declined',
      outcome: 'final',
      retryable: false,
    });
    expect(await effects(database)).toEqual({ ...NOTHING, failed: 1, completed: 1 });
  });
});

describe('the same request, many times at once', () => {
  it('is charged once in one process', async () => {
    const responses = await Promise.all(Array.from({ length: 50 }, () => service.charge('storm')));
    expectOneFirst(responses);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('is charged once by two replicas', async () => {
    const responses = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (i % 2 ? service : replica).charge('storm')),
    );
    expectOneFirst(responses);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('waits for a slow first one, at either replica', async () => {
    const slow = { ...CHARGE, source: 'tok_slow' };
    const first = service.charge('slow', slow);
    await until(async () => (await effects(database)).in_progress === 1);
    const responses = await Promise.all([first, service.charge('slow', slow), replica.charge('slow', slow)]);
    expectOneFirst(responses);
    expect(isReplay(responses[0])).toBe(false);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('is told to come back when the first one takes longer than the wait', async () => {
    const impatient = await startService(database.url, { IDEMPOTENCY_WAIT_MS: '100' });
    const other = await startService(database.url, { IDEMPOTENCY_WAIT_MS: '100' });
    const answer = holdAnswer(impatient);
    const first = impatient.charge('impatient');
    await answer.reached.given;
    for (const app of [impatient, other]) {
      const response = await app.charge('impatient');
      expect(response.status).toBe(409);
      expect(response.body).toMatchObject({ code: 'idempotency_key_in_progress', retryable: true, outcome: 'unknown' });
      expect(response.headers['retry-after']).toBe('1');
    }
    answer.open();
    expect((await first).status).toBe(200);
    expect(await effects(database)).toEqual(ONE_CHARGE);
    await impatient.stop();
    await other.stop();
  });

  it('holds no connection while it waits: a pool of two serves fifty waiters and others besides', async () => {
    const small = await startService(database.url, { DATABASE_POOL_SIZE: '2' });
    const answer = holdAnswer(small);
    const waiting = Promise.all(Array.from({ length: 50 }, () => small.charge('pool')));
    await answer.reached.given;
    const other = await small.charge('another-key');
    expect(other.status).toBe(200);
    expect((await effects(database)).in_progress).toBe(1);
    answer.open();
    expectOneFirst(await waiting);
    await small.stop();
  });
});

describe('another request with the same key', () => {
  const other = { ...CHARGE, amount: 2000 };

  it('is refused after the first', async () => {
    await service.charge('reused');
    for (const app of [service, replica]) {
      const response = await app.charge('reused', other);
      expect(response.status).toBe(422);
      expect(response.body).toMatchObject({ code: 'idempotency_key_reused', outcome: 'not_started', retryable: false });
    }
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('is refused while the first is in flight, at once', async () => {
    const answer = holdAnswer(service);
    const first = service.charge('reused');
    await answer.reached.given;
    for (const app of [service, replica]) expect((await app.charge('reused', other)).status).toBe(422);
    expect((await effects(database)).in_progress).toBe(1);
    answer.open();
    expect((await first).status).toBe(200);
  });

  it('is refused even when the first has been abandoned', async () => {
    await leaveBehind(database, { key: 'abandoned' });
    expect((await service.charge('abandoned', other)).status).toBe(422);
    expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, in_progress: 1 });
  });

  it('of another account is a request of its own', async () => {
    const [ours, theirs] = await Promise.all([
      service.charge('shared'),
      service.charge('shared', other, { authorization: 'Bearer sk_other' }),
    ]);
    expect([ours.status, theirs.status]).toEqual([200, 200]);
    expect(theirs.body).toMatchObject({ amount: 2000 });
    expect([ours, theirs].map(isReplay)).toEqual([false, false]);
    expect(await effects(database)).toEqual({ ...NOTHING, succeeded: 2, captures: 2, completed: 2 });
  });
});

describe('a gateway that does not answer', () => {
  const timeout = { ...CHARGE, source: 'tok_timeout' };
  /** Gives the bank up after a moment. Whoever asks again is patient, so that a busy machine is not a lost answer. */
  const HASTY = { GATEWAY_TIMEOUT_MS: '300' };
  const captured = () => until(async () => (await effects(database)).captures === 1);

  it('is unknown, never final: the retry finds out that the money was taken, and takes no more', async () => {
    const hasty = await startService(database.url, HASTY);
    const first = await hasty.charge('timeout', timeout);
    expect(first.status).toBe(504);
    expect(first.body).toMatchObject({ code: 'gateway_timeout', outcome: 'unknown', retryable: true });
    expect(first.headers['retry-after']).toBe('1');
    await captured();
    expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, captures: 1, in_progress: 1 });

    const retry = await service.charge('timeout', timeout);
    expect(retry.status).toBe(200);
    expect(isReplay(retry)).toBe(false);
    expect(replyOf(await hasty.charge('timeout', timeout))).toEqual(replyOf(retry));
    expect(await effects(database)).toEqual(ONE_CHARGE);
    await hasty.stop();
  });

  it('needs no client: recovery finishes the charge, and a later retry gets its reply', async () => {
    const hasty = await startService(database.url, HASTY);
    expect((await hasty.charge('recovered', timeout)).status).toBe(504);
    await captured();
    expect(await service.nest.get(Recovery).runOnce()).toBe(1);
    expect(await effects(database)).toEqual(ONE_CHARGE);
    const retry = await hasty.charge('recovered', timeout);
    expect(retry.status).toBe(200);
    expect(isReplay(retry)).toBe(true);
    await hasty.stop();
  });

  it('is tried again for as long as it is unavailable, and captures nothing meanwhile', async () => {
    const unavailable = { ...CHARGE, source: 'tok_unavailable' };
    for (let i = 0; i < 2; i++) {
      const response = await service.charge('unavailable', unavailable);
      expect(response.status).toBe(503);
      expect(response.body).toMatchObject({ code: 'gateway_unavailable', outcome: 'unknown', retryable: true });
    }
    expect(await service.nest.get(Recovery).runOnce()).toBe(0);
    expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, in_progress: 1 });
  });
});

describe('expiry', () => {
  const age = (hours: number) =>
    database.sql(`UPDATE processed_requests SET created_at = created_at - make_interval(hours => $1)`, [hours]);

  it('makes a key new after 24 hours, swept or not, by the clock of the database', async () => {
    const first = await service.charge('old');
    await age(23);
    expect(isReplay(await service.charge('old'))).toBe(true);
    await age(1);
    const responses = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? service : replica).charge('old')),
    );
    expectOneFirst(responses);
    expect(responses[0]?.body).not.toEqual(first.body);
    expect(await effects(database)).toEqual({ ...ONE_CHARGE, succeeded: 2, captures: 2 });
  });

  it('lets the sweep delete what is completed, and nothing else', async () => {
    await service.charge('completed');
    await leaveBehind(database, { key: 'unfinished' });
    await age(25);
    await service.charge('young');
    expect(await service.nest.get(Sweeper).runOnce()).toBe(1);
    const keys = await database.sql('SELECT idempotency_key FROM processed_requests ORDER BY 1');
    expect(keys.map(({ idempotency_key }) => idempotency_key as string)).toEqual(['unfinished', 'young']);
  });

  it('does not make an unfinished request new: it is finished, once', async () => {
    await leaveBehind(database, { key: 'unfinished', captured: true });
    await age(48);
    const finished = await service.charge('unfinished');
    expect(finished.status).toBe(200);
    // Its reply is kept as long as any: a client that has been trying all the while must not make it anew.
    await age(23);
    expect(await service.nest.get(Sweeper).runOnce()).toBe(0);
    expect(replyOf(await replica.charge('unfinished'))).toEqual(replyOf(finished));
    expect(await effects(database)).toEqual(ONE_CHARGE);
    await age(1);
    expect(await service.nest.get(Sweeper).runOnce()).toBe(1);
  });
});

/** Sends a charge and breaks the connection: as soon as the reply arrives, or before it, once the request is under way. */
function loseReply(url: string, key: string, underWay?: Promise<void>): Promise<void> {
  const payload = JSON.stringify(CHARGE);
  const headers = {
    authorization: 'Bearer sk_demo',
    'content-type': 'application/json',
    'content-length': payload.length,
    'idempotency-key': key,
  };
  return new Promise((resolve) => {
    const request = httpRequest(`${url}/charges`, { method: 'POST', headers });
    request.on('error', () => undefined).on('close', () => resolve());
    request.on('response', (response) => response.destroy());
    request.end(payload);
    void underWay?.then(() => request.destroy());
  });
}
