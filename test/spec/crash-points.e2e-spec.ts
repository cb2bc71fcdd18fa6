import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Idempotency, Recovery } from '../../src/idempotency/index.js';
import { connect, createDatabase, type TestDatabase, withLimits } from '../support/database.js';
import { CHARGE, holdAnswer, replyOf, startService, type TestService } from '../support/service.js';
import { effects, leaveBehind, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';

let database: TestDatabase;
let service: TestService;
let replica: TestService;
/** Waits for another holder, and for the lock of a frozen session, for a moment only. */
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

/** The states between the commits of the protocol: what a crash leaves is one of these, or nothing. */
const CRASHES = [
  { crashed: 'after the claim was committed, before the bank was asked', captured: false },
  { crashed: 'after the bank had captured, before the reply was recorded', captured: true },
];

describe.each(CRASHES)('a process that crashed $crashed', ({ captured }) => {
  it('is continued by a retry', async () => {
    await leaveBehind(database, { key: 'crashed', captured });
    const retry = await service.charge('crashed');
    expect(retry.status).toBe(200);
    expect(retry.headers['idempotent-replayed']).toBeUndefined();
    expect(replyOf(await replica.charge('crashed'))).toEqual(replyOf(retry));
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('is finished without a client, and a later retry gets the reply', async () => {
    await leaveBehind(database, { key: 'crashed', captured });
    expect(await service.nest.get(Recovery).runOnce()).toBe(1);
    expect(await effects(database)).toEqual(ONE_CHARGE);
    const retry = await service.charge('crashed');
    expect(retry.status).toBe(200);
    expect(retry.headers['idempotent-replayed']).toBe('true');
  });

  it('is continued once by many retries and recoveries at once, at two replicas', async () => {
    await leaveBehind(database, { key: 'crashed', captured });
    const [responses] = await Promise.all([
      Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? service : replica).charge('crashed'))),
      service.nest.get(Recovery).runOnce(),
      replica.nest.get(Recovery).runOnce(),
    ]);
    expect(new Set(responses.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('is left alone while its lease runs: it might not have crashed', async () => {
    await leaveBehind(database, { key: 'running', captured, leaseSeconds: 60 });
    expect(await service.nest.get(Recovery).runOnce()).toBe(0);
    expect((await impatient.charge('running')).status).toBe(409);
    expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, captures: Number(captured), in_progress: 1 });
  });

  it('is taken over by a retry that waits until the lease lapses', async () => {
    await leaveBehind(database, { key: 'lapsing', captured, leaseSeconds: 3600 });
    let looks = 0;
    const looking = replica.nest
      .get(Idempotency)
      .events.subscribe(({ type }) => void (looks += Number(type === 'committed')));
    const retry = replica.charge('lapsing');
    await until(() => looks > 1);
    looking.unsubscribe();
    expect(await effects(database)).toMatchObject({ pending: 1, in_progress: 1 });
    await database.sql('UPDATE processed_requests SET locked_until = clock_timestamp()');
    expect((await retry).status).toBe(200);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });
});

describe('a crash that left a card that is declined', () => {
  it('is finished with the 402 that the client would have got', async () => {
    await leaveBehind(database, { key: 'declined', source: 'tok_insufficientFunds' });
    await service.nest.get(Recovery).runOnce();
    const retry = await service.charge('declined', { ...CHARGE, source: 'tok_insufficientFunds' });
    expect(retry.status).toBe(402);
    expect(retry.body).toMatchObject({ decline_code: 'insufficient_funds' });
    expect(await effects(database)).toEqual({ ...NOTHING, failed: 1, completed: 1 });
  });
});

describe('recovery', () => {
  it('finishes what many crashes left, each once, at two replicas', async () => {
    for (let i = 0; i < 25; i++) await leaveBehind(database, { key: `crash-${i}`, captured: i % 2 === 0 });
    await Promise.all([service.nest.get(Recovery).runOnce(), replica.nest.get(Recovery).runOnce()]);
    await until(async () => (await effects(database)).in_progress === 0);
    expect(await effects(database)).toEqual({ ...NOTHING, succeeded: 25, captures: 25, completed: 25 });
  });

  it('is not held up by charges whose gateway stays unavailable', async () => {
    for (let i = 0; i < 8; i++) await leaveBehind(database, { key: `down-${i}`, source: 'tok_unavailable' });
    await leaveBehind(database, { key: 'fine' });
    expect(await service.nest.get(Recovery).runOnce()).toBe(1);
    expect(await effects(database)).toMatchObject({ succeeded: 1, pending: 8 });
  });

  it('forgets a key whose charge is missing, which proves that the bank was not asked, and a retry is a new request', async () => {
    await leaveBehind(database, { key: 'lost' });
    await database.sql('DELETE FROM charges');
    await service.nest.get(Recovery).runOnce();
    expect(await effects(database)).toEqual(NOTHING);
    const retry = await service.charge('lost');
    expect(retry.status).toBe(200);
    expect(retry.headers['idempotent-replayed']).toBeUndefined();
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('keeps accounts apart', async () => {
    for (const accountId of ['acct_demo', 'acct_other']) await leaveBehind(database, { key: 'same', accountId });
    expect(await service.nest.get(Recovery).runOnce()).toBe(2);
    const charges = await database.sql('SELECT account_id, status FROM charges ORDER BY 1');
    expect(charges).toEqual([
      { account_id: 'acct_demo', status: 'succeeded' },
      { account_id: 'acct_other', status: 'succeeded' },
    ]);
  });
});

describe('a holder that wakes after it has been taken over', () => {
  it('is fenced off: it commits nothing, and answers with the reply of the other', async () => {
    const sleeper = await startService(database.url);
    const answer = holdAnswer(sleeper);
    const asleep = sleeper.charge('asleep');
    // The bank has captured. The lease lapses, as it would had the process been frozen.
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

describe('a process that froze within a transaction', () => {
  const UNCOMMITTED = `
    INSERT INTO processed_requests
      (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
    VALUES ('acct_demo', 'frozen', gen_random_uuid(), 'POST /charges', sha256('another'), gen_random_uuid(), now(), now())`;

  it('holds its key no longer than the wait, and no other key at all', async () => {
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

describe('a record that cannot be written', () => {
  it('takes the effect back with it: they are one commit', async () => {
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
    // The failed attempt has given up its lease, so the retry need not wait for it.
    expect((await replica.charge('unrecorded')).status).toBe(200);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });
});

describe('a server whose default isolation is serializable', () => {
  it('keeps the promise: the service says which isolation it needs', async () => {
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
