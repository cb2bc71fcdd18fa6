// Goal: specify that a charge interrupted by a crash is finished exactly once, by a retry or by recovery, with one reply.
// Method: insert the rows that a crash leaves between the two commits (`leaveBehind`), then send retries and run recovery.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Idempotency, Recovery } from '../../src/idempotency/index.js';
import { connect, createDatabase, type TestDatabase, withLimits } from '../support/database.js';
import { CHARGE, holdAnswer, replyOf, startService, type TestService } from '../support/service.js';
import { effects, leaveBehind, leaveRefundBehind, NOTHING, ONE_CHARGE, refundsOf, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';
import { COMMITTERS, useCommitter } from '../support/committers.js';

describe.each(COMMITTERS)('requests that are committed %s:', (committer) => {
  useCommitter(committer);

  let database: TestDatabase;
  let service: TestService;
  let replica: TestService;
  /** Waits at most 0.4 s for another holder of the key, and 0.1 s for a lock, so that tests of a refusal are short. */
  let impatient: TestService;

  beforeAll(async () => {
    database = await createDatabase();
    service = await startService(database.url);
    replica = await startService(database.url);
    impatient = await startService(withLimits(database.url, { lock_timeout: 100 }), { IDEMPOTENCY_WAIT_MS: '400' });
  });
  beforeEach(() => reset(database));
  afterEach(Barrier.openAll);
  afterAll(async () => {
    await service?.stop();
    await replica?.stop();
    await impatient?.stop();
    await database?.drop();
  });

  /** Every state between the two commits. A crash before the first commit leaves no row, so it needs no test. */
  const CRASHES = [
    { crashed: 'after the claim was committed, before the bank was asked', captured: false },
    { crashed: 'after the bank had captured the money, before the reply was recorded', captured: true },
  ];

  describe.each(CRASHES)('a charge whose process crashed $crashed', ({ captured }) => {
    it('finishes a crashed charge when its client retries, and then replays that reply', async () => {
      await leaveBehind(database, { key: 'crashed', captured });
      const retry = await service.charge('crashed');
      expect(retry.status).toBe(200);
      expect(retry.headers['idempotent-replayed']).toBeUndefined();
      expect(replyOf(await replica.charge('crashed'))).toEqual(replyOf(retry));
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('finishes a crashed charge without its client, and replays the reply to a later retry', async () => {
      await leaveBehind(database, { key: 'crashed', captured });
      expect(await service.nest.get(Recovery).runOnce()).toBe(1);
      expect(await effects(database)).toEqual(ONE_CHARGE);
      const retry = await service.charge('crashed');
      expect(retry.status).toBe(200);
      expect(retry.headers['idempotent-replayed']).toBe('true');
    });

    // Adds to double-charge: the first request is already half done, and recovery competes with the retries.
    it('finishes a crashed charge once when 20 retries and two recoveries run at once, on two replicas', async () => {
      await leaveBehind(database, { key: 'crashed', captured });
      const [responses] = await Promise.all([
        Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? service : replica).charge('crashed'))),
        service.nest.get(Recovery).runOnce(),
        replica.nest.get(Recovery).runOnce(),
      ]);
      expect(new Set(responses.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('leaves an unfinished charge alone while its lease runs, because its process may still be alive', async () => {
      await leaveBehind(database, { key: 'running', captured, leaseSeconds: 60 });
      expect(await service.nest.get(Recovery).runOnce()).toBe(0);
      expect((await impatient.charge('running')).status).toBe(409);
      expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, captures: Number(captured), in_progress: 1 });
    });

    it('makes a retry wait until the lease expires, and then take the charge over', async () => {
      await leaveBehind(database, { key: 'lapsing', captured, leaseSeconds: 3600 });
      // Each poll of the waiting retry is one commit.
      let polls = 0;
      const subscription = replica.nest
        .get(Idempotency)
        .events.subscribe(({ type }) => void (polls += Number(type === 'committed')));
      const retry = replica.charge('lapsing');
      await until(() => polls > 1);
      subscription.unsubscribe();
      expect(await effects(database)).toMatchObject({ pending: 1, in_progress: 1 });
      await database.sql('UPDATE processed_requests SET locked_until = clock_timestamp()');
      expect((await retry).status).toBe(200);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });
  });

  describe('a crashed charge whose card is declined', () => {
    it('records the 402 of a declined card when recovery finishes a crashed charge, and replays it to the client', async () => {
      await leaveBehind(database, { key: 'declined', source: 'tok_insufficientFunds' });
      await service.nest.get(Recovery).runOnce();
      const retry = await service.charge('declined', { ...CHARGE, source: 'tok_insufficientFunds' });
      expect(retry.status).toBe(402);
      expect(retry.body).toMatchObject({ decline_code: 'insufficient_funds' });
      expect(await effects(database)).toEqual({ ...NOTHING, failed: 1, completed: 1 });
    });
  });

  describe.each([
    { crashed: 'after the claim was committed, before the bank was asked', paid: false },
    { crashed: 'after the bank had paid the refund, before the reply was recorded', paid: true },
  ])('a refund whose process crashed $crashed', ({ paid }) => {
    const REFUNDED = { succeeded: '1 of 500', pending: '0 of 0', paid: '1 of 500' };
    const chargeId = async () => ((await service.charge('charge')).body as { id: string }).id;

    it('finishes a crashed refund when its client retries, and then replays that reply', async () => {
      const id = await chargeId();
      await leaveRefundBehind(database, { key: 'crashed', chargeId: id, opened: 500, paid });
      const retry = await service.refund(id, 'crashed', { amount: 500 });
      expect([retry.status, retry.headers['idempotent-replayed']]).toEqual([200, undefined]);
      expect(replyOf(await replica.refund(id, 'crashed', { amount: 500 }))).toEqual(replyOf(retry));
      expect(await refundsOf(database)).toEqual(REFUNDED);
    });

    it('finishes a crashed refund without its client, and replays the reply to a later retry', async () => {
      const id = await chargeId();
      await leaveRefundBehind(database, { key: 'crashed', chargeId: id, opened: 500, paid });
      expect(await service.nest.get(Recovery).runOnce()).toBe(1);
      expect(await refundsOf(database)).toEqual(REFUNDED);
      const retry = await service.refund(id, 'crashed', { amount: 500 });
      expect([retry.status, retry.headers['idempotent-replayed']]).toEqual([200, 'true']);
    });

    it('finishes a crashed refund once when 20 retries and two recoveries run at once, on two replicas', async () => {
      const id = await chargeId();
      await leaveRefundBehind(database, { key: 'crashed', chargeId: id, opened: 500, paid });
      const [responses] = await Promise.all([
        Promise.all(
          Array.from({ length: 20 }, (_, i) => (i % 2 ? service : replica).refund(id, 'crashed', { amount: 500 })),
        ),
        service.nest.get(Recovery).runOnce(),
        replica.nest.get(Recovery).runOnce(),
      ]);
      expect(new Set(responses.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
      expect(await refundsOf(database)).toEqual(REFUNDED);
    });

    it('refunds the amount that was left when the refund was opened, although the charge has less left at the retry', async () => {
      const id = await chargeId();
      await leaveRefundBehind(database, { key: 'crashed', chargeId: id, opened: 500, paid, body: {} });
      expect((await service.refund(id, 'rest')).body).toMatchObject({ amount: CHARGE.amount - 500 });
      expect((await replica.refund(id, 'crashed')).body).toMatchObject({ amount: 500 });
      expect(await refundsOf(database)).toMatchObject({ succeeded: '2 of 1999', paid: '2 of 1999' });
    });
  });

  describe('a refund whose process crashed after it was refused, before the refusal was recorded', () => {
    const NO_REFUND = { succeeded: '0 of 0', pending: '0 of 0', paid: '0 of 0' };
    const chargeId = async () => ((await service.charge('charge')).body as { id: string }).id;

    it('decides a refused refund again when its client retries, because nothing had happened', async () => {
      const id = await chargeId();
      await leaveRefundBehind(database, { key: 'refused', chargeId: id, body: { amount: 2000 } });
      const retry = await service.refund(id, 'refused', { amount: 2000 });
      expect([retry.status, retry.headers['idempotent-replayed']]).toEqual([409, undefined]);
      const again = await replica.refund(id, 'refused', { amount: 2000 });
      expect([replyOf(again), again.headers['idempotent-replayed']]).toEqual([replyOf(retry), 'true']);
      expect(await refundsOf(database)).toEqual(NO_REFUND);
    });

    it('forgets the key of a refused refund in recovery, so that a retry is a new request', async () => {
      const id = await chargeId();
      await leaveRefundBehind(database, { key: 'refused', chargeId: id, body: { amount: 2000 } });
      await service.nest.get(Recovery).runOnce();
      expect(await effects(database)).toEqual(ONE_CHARGE);
      expect((await service.refund(id, 'refused', { amount: 2000 })).status).toBe(409);
      expect(await refundsOf(database)).toEqual(NO_REFUND);
    });
  });

  describe('recovery', () => {
    it('finishes 25 crashed charges once each when recovery runs on two replicas at once', async () => {
      for (let i = 0; i < 25; i++) await leaveBehind(database, { key: `crash-${i}`, captured: i % 2 === 0 });
      await Promise.all([service.nest.get(Recovery).runOnce(), replica.nest.get(Recovery).runOnce()]);
      await until(async () => (await effects(database)).in_progress === 0);
      expect(await effects(database)).toEqual({ ...NOTHING, succeeded: 25, captures: 25, completed: 25 });
    });

    it('finishes one crashed charge although the gateway stays unavailable for eight others', async () => {
      for (let i = 0; i < 8; i++) await leaveBehind(database, { key: `down-${i}`, source: 'tok_unavailable' });
      await leaveBehind(database, { key: 'fine' });
      expect(await service.nest.get(Recovery).runOnce()).toBe(1);
      expect(await effects(database)).toMatchObject({ succeeded: 1, pending: 8 });
    });

    it('forgets a key without a charge, because the bank cannot have been asked for it, so that a retry is a new request', async () => {
      await leaveBehind(database, { key: 'lost' });
      await database.sql('DELETE FROM charges');
      await service.nest.get(Recovery).runOnce();
      expect(await effects(database)).toEqual(NOTHING);
      const retry = await service.charge('lost');
      expect(retry.status).toBe(200);
      expect(retry.headers['idempotent-replayed']).toBeUndefined();
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });

    it('finishes the crashed charges of two accounts that use the same key', async () => {
      for (const accountId of ['acct_demo', 'acct_other']) await leaveBehind(database, { key: 'same', accountId });
      expect(await service.nest.get(Recovery).runOnce()).toBe(2);
      const charges = await database.sql('SELECT account_id, status FROM charges ORDER BY 1');
      expect(charges).toEqual([
        { account_id: 'acct_demo', status: 'succeeded' },
        { account_id: 'acct_other', status: 'succeeded' },
      ]);
    });
  });

  describe('a process that wakes after its request was taken over', () => {
    it('fences off a process that wakes after a takeover: it commits nothing, and answers with the reply of the takeover', async () => {
      const sleeper = await startService(database.url);
      const answer = holdAnswer(sleeper);
      const asleep = sleeper.charge('asleep');
      // The bank has captured the money. Expire the lease, as if the process had been frozen for longer than the lease.
      await answer.reached.given;
      await database.sql(`UPDATE processed_requests SET locked_until = now() - interval '1 second'`);
      const takeover = await replica.charge('asleep');
      expect(takeover.status).toBe(200);

      answer.open();
      const woken = await asleep;
      expect(replyOf(woken)).toEqual(replyOf(takeover));
      expect(woken.headers['idempotent-replayed']).toBe('true');
      expect(await effects(database)).toEqual(ONE_CHARGE);
      const metrics = await sleeper.http.get('/metrics');
      expect(metrics.text).toMatch(/^idempotency_fenced_off_total 1$/m);
      await sleeper.stop();
    });
  });

  describe('a process that wakes after its refund was taken over', () => {
    it('fences off a process that wakes after its refund was taken over: it pays nothing, and answers with the reply of the takeover', async () => {
      const { id } = (await replica.charge('charge')).body as { id: string };
      const sleeper = await startService(database.url);
      const answer = holdAnswer(sleeper);
      const asleep = sleeper.refund(id, 'asleep', { amount: 500 });
      await answer.reached.given;
      await database.sql(
        `UPDATE processed_requests SET locked_until = now() - interval '1 second' WHERE completed_at IS NULL`,
      );
      const takeover = await replica.refund(id, 'asleep', { amount: 500 });
      expect(takeover.status).toBe(200);

      answer.open();
      const woken = await asleep;
      expect([replyOf(woken), woken.headers['idempotent-replayed']]).toEqual([replyOf(takeover), 'true']);
      expect(await refundsOf(database)).toEqual({ succeeded: '1 of 500', pending: '0 of 0', paid: '1 of 500' });
      await sleeper.stop();
    });
  });

  describe('a process that is frozen within a transaction', () => {
    const UNCOMMITTED = `
    INSERT INTO processed_requests
      (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
    VALUES ('acct_demo', 'frozen', gen_random_uuid(), 'POST /charges', sha256('another'), gen_random_uuid(), now(), now())`;

    it('answers 409 to duplicates of a request that is frozen within its transaction, and serves other keys', async () => {
      const frozen = await connect(database.url);
      await frozen.query('BEGIN');
      await frozen.query(UNCOMMITTED);
      const blocked = impatient.charge('frozen');
      expect((await impatient.charge('free')).status).toBe(200);
      expect((await blocked).status).toBe(409);
      await frozen.query('ROLLBACK');
      expect((await service.charge('frozen')).status).toBe(200);
      await frozen.end();
    });
  });

  describe('a reply that cannot be recorded', () => {
    it('rolls back the result of a charge whose reply cannot be recorded, because both are one commit', async () => {
      await database.sql(`
      CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END $$;
      CREATE TRIGGER refuse BEFORE UPDATE OF response_body ON processed_requests
        FOR EACH ROW WHEN (NEW.completed_at IS NOT NULL) EXECUTE FUNCTION refuse()`);
      const failed = await service.charge('unrecorded');
      expect(failed.status).toBe(503);
      expect(failed.body).toMatchObject({ code: 'database_unavailable', outcome: 'unknown', retryable: true });
      expect(failed.text).not.toContain('disk');
      expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, captures: 1, in_progress: 1 });

      await database.sql('DROP TRIGGER refuse ON processed_requests');
      // The failed attempt has released its lease, so the retry does not wait.
      expect((await replica.charge('unrecorded')).status).toBe(200);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });
  });

  describe('a database whose default isolation level is serializable', () => {
    it('charges each key once on a database that is serializable by default, because the service sets its isolation level', async () => {
      const strict = await createDatabase();
      await strict.sql(
        `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$`,
      );
      const [one, other] = [await startService(strict.url), await startService(strict.url)];
      const responses = await Promise.all(
        Array.from({ length: 40 }, (_, i) => (i % 2 ? one : other).charge(`strict-${i % 4}`)),
      );
      expect(responses.map(({ status }) => status)).toEqual(responses.map(() => 200));
      expect(await effects(strict)).toEqual({ ...NOTHING, succeeded: 4, captures: 4, completed: 4 });
      await Promise.all([one.stop(), other.stop()]);
      await strict.drop();
    });
  });
});
