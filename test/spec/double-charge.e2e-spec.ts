// Goal: specify the promise: one effect and one reply for each key, despite retries, races, lost replies, refusals and expiry.
// Method: send the same charge to two replicas of the whole service, compare the replies, and count charges, captures and keys.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { request as httpRequest } from 'node:http';
import type { Response } from 'supertest';
import { Recovery, Sweeper } from '../../src/idempotency/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, holdAnswer, replyOf, startService, type TestService } from '../support/service.js';
import { effects, leaveBehind, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';
import { COMMITTERS, useCommitter } from '../support/committers.js';

describe.each(COMMITTERS)('requests that are committed %s:', (committer) => {
  useCommitter(committer);

  let database: TestDatabase;
  let service: TestService;
  /** A second replica: another application on the same database. */
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

  /** Expects the same reply in all responses, of which exactly one is not a replay. */
  function expectOneFirst(responses: Response[]): void {
    expect(responses.map(replyOf)).toEqual(responses.map(() => replyOf(responses[0] as Response)));
    expect(responses.filter((response) => !isReplay(response))).toHaveLength(1);
  }

  describe('a repeated charge', () => {
    it('charges once, and answers with the same bytes, when a request is sent twice', async () => {
      const first = await service.charge('order_12345');
      const second = await service.charge('order_12345');

      expect(first.status).toBe(200);
      expect(first.body).toMatchObject({ object: 'charge', amount: 1999, currency: 'eur', status: 'succeeded' });
      expect(replyOf(second)).toEqual(replyOf(first));
      expect([first, second].map(isReplay)).toEqual([false, true]);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('leaves the database unchanged when a completed request is sent ten more times', async () => {
      await service.charge('often');
      const rows = () => database.sql('SELECT * FROM processed_requests, charges, bank.captures');
      const before = await rows();
      for (let i = 0; i < 10; i++) await (i % 2 ? service : replica).charge('often');
      expect(await rows()).toEqual(before);
    });

    it('charges once when the first reply is lost on its way to the client', async () => {
      await loseReply(service.url, 'lost');
      const retry = await service.charge('lost');
      expect(retry.status).toBe(200);
      expect(isReplay(retry)).toBe(true);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('finishes a charge whose client hangs up, and gives the reply to the retry', async () => {
      const answer = holdAnswer(service);
      await loseReply(service.url, 'hung-up', answer.reached.given);
      const retry = service.charge('hung-up');
      answer.open();
      expect((await retry).status).toBe(200);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('declines a card once, and answers the retry with the same 402', async () => {
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

  describe('concurrent duplicates of a charge', () => {
    it('charges once when 50 duplicates reach one process at once', async () => {
      const responses = await Promise.all(Array.from({ length: 50 }, () => service.charge('storm')));
      expectOneFirst(responses);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('charges once when 50 duplicates reach two replicas at once', async () => {
      const responses = await Promise.all(
        Array.from({ length: 50 }, (_, i) => (i % 2 ? service : replica).charge('storm')),
      );
      expectOneFirst(responses);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('makes duplicates wait for the reply of a slow first request, on the same and on another replica', async () => {
      const slow = { ...CHARGE, source: 'tok_slow' };
      const first = service.charge('slow', slow);
      await until(async () => (await effects(database)).in_progress === 1);
      const responses = await Promise.all([first, service.charge('slow', slow), replica.charge('slow', slow)]);
      expectOneFirst(responses);
      expect(isReplay(responses[0])).toBe(false);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('answers 409 with Retry-After to a duplicate when the first request takes longer than the wait', async () => {
      const impatient = await startService(database.url, { IDEMPOTENCY_WAIT_MS: '100' });
      const other = await startService(database.url, { IDEMPOTENCY_WAIT_MS: '100' });
      const answer = holdAnswer(impatient);
      const first = impatient.charge('impatient');
      await answer.reached.given;
      for (const app of [impatient, other]) {
        const response = await app.charge('impatient');
        expect(response.status).toBe(409);
        expect(response.body).toMatchObject({
          code: 'idempotency_key_in_progress',
          retryable: true,
          outcome: 'unknown',
        });
        expect(response.headers['retry-after']).toBe('1');
      }
      answer.open();
      expect((await first).status).toBe(200);
      expect(await effects(database)).toEqual(ONE_CHARGE);
      await impatient.stop();
      await other.stop();
    });

    it('holds no connection for a waiting duplicate: a pool of two serves another key while fifty wait', async () => {
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

    it('answers 422 to another request with the key of a completed one', async () => {
      await service.charge('reused');
      for (const app of [service, replica]) {
        const response = await app.charge('reused', other);
        expect(response.status).toBe(422);
        expect(response.body).toMatchObject({
          code: 'idempotency_key_reused',
          outcome: 'not_started',
          retryable: false,
        });
      }
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('answers 422 at once to another request with the key of one in flight', async () => {
      const answer = holdAnswer(service);
      const first = service.charge('reused');
      await answer.reached.given;
      for (const app of [service, replica]) expect((await app.charge('reused', other)).status).toBe(422);
      expect((await effects(database)).in_progress).toBe(1);
      answer.open();
      expect((await first).status).toBe(200);
    });

    it('answers 422 to another request with the key of one that was abandoned', async () => {
      await leaveBehind(database, { key: 'abandoned' });
      expect((await service.charge('abandoned', other)).status).toBe(422);
      expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, in_progress: 1 });
    });

    it('charges two accounts that use the same key for different requests', async () => {
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
    /** Gives up on the bank after 0.3 s. The retries go to `service`, which waits longer than a busy machine takes. */
    const HASTY = { GATEWAY_TIMEOUT_MS: '300' };
    const captured = () => until(async () => (await effects(database)).captures === 1);

    it('answers 504 unknown when the answer of the bank is lost, and captures nothing more when the client retries', async () => {
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

    it('lets recovery finish a charge whose bank answer was lost, and replays the reply to a later retry', async () => {
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

    it('answers 503 unknown and captures nothing for as long as the gateway is unavailable', async () => {
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

    it('treats a key as new after 24 hours by the clock of the database, even if it has not been swept', async () => {
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

    it('sweeps expired completed keys, and keeps young and unfinished ones', async () => {
      await service.charge('completed');
      await leaveBehind(database, { key: 'unfinished' });
      await age(25);
      await service.charge('young');
      expect(await service.nest.get(Sweeper).runOnce()).toBe(1);
      const keys = await database.sql('SELECT idempotency_key FROM processed_requests ORDER BY 1');
      expect(keys.map(({ idempotency_key }) => idempotency_key as string)).toEqual(['unfinished', 'young']);
    });

    it('finishes an unfinished request once, however old its key is', async () => {
      await leaveBehind(database, { key: 'unfinished', captured: true });
      await age(48);
      const finished = await service.charge('unfinished');
      expect(finished.status).toBe(200);
      // The retention starts at completion, because a client that has kept retrying must not charge again.
      await age(23);
      expect(await service.nest.get(Sweeper).runOnce()).toBe(0);
      expect(replyOf(await replica.charge('unfinished'))).toEqual(replyOf(finished));
      expect(await effects(database)).toEqual(ONE_CHARGE);
      await age(1);
      expect(await service.nest.get(Sweeper).runOnce()).toBe(1);
    });
  });

  /** Sends a charge and breaks the connection: when the reply arrives, or when `underWay` resolves, if that is earlier. */
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
});
