// Goal: specify that a COMMIT whose answer is lost is in doubt, not failed, and that no outage makes a charge happen twice.
// Method: put a proxy between service and PostgreSQL that drops or delays a COMMIT or its answer, and count statements and rows.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { type PostgresProxy, startProxy } from '../../harness/proxy.js';
import { replyOf, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { until } from '../support/waiting.js';
import { COMMITTERS_ALONE, useCommitter } from '../support/committers.js';

describe.each(COMMITTERS_ALONE)('requests that are committed %s:', (committer) => {
  useCommitter(committer);

  let database: TestDatabase;
  let proxy: PostgresProxy;
  /** Reaches the database through the proxy. */
  let service: TestService;
  let direct: TestService;

  beforeAll(async () => {
    database = await createDatabase();
    proxy = await startProxy(database.url);
    service = await startService(proxy.url);
    direct = await startService(database.url);
  });
  beforeEach(() => reset(database));
  afterAll(async () => {
    await service?.stop();
    await direct?.stop();
    await proxy?.close();
    await database?.drop();
  });

  const COMMITS = [
    { commit: 'the claim', skip: 0 },
    { commit: 'the completion', skip: 1 },
  ];

  describe.each(COMMITS)('a lost COMMIT of $commit', ({ skip }) => {
    it.each(['drop request', 'drop reply'] as const)(
      'resolves a lost COMMIT by claiming the key again (%s)',
      async (fault) => {
        const before = proxy.landed;
        proxy.failCommit(fault, skip);
        const response = await service.charge('lost-commit');
        expect(proxy.landed).toBe(before + 1);
        expect(response.status).toBe(200);
        // This attempt recorded the reply, so the reply is not a replay.
        expect(response.headers['idempotent-replayed']).toBeUndefined();
        expect(replyOf(await direct.charge('lost-commit'))).toEqual(replyOf(response));
        expect(await effects(database)).toEqual(ONE_CHARGE);
      },
    );

    it('waits for a COMMIT that arrives late, and finds its result', async () => {
      const before = proxy.landed;
      proxy.failCommit('late', skip);
      const pending = service.charge('late-commit');
      await until(() => proxy.landed === before + 1);
      await until(async () => (await lockWaiters(database)) === 1);
      await proxy.releaseLate();
      const response = await pending;
      expect(response.status).toBe(200);
      expect(response.headers['idempotent-replayed']).toBeUndefined();
      expect(await effects(database)).toEqual(ONE_CHARGE);
    });
  });

  describe('the cost of a request', () => {
    /** System columns of the key's row: they change when a statement updates or locks the row. */
    const rowVersion = async () =>
      (
        await database.sql<{ xmin: string; xmax: string; ctid: string }>(
          `SELECT xmin, xmax, ctid FROM processed_requests`,
        )
      )[0];

    it('costs a first charge two commits, and no statement that could be spared', async () => {
      await service.charge('warm-up');
      const before = proxy.statements;
      expect((await service.charge('first')).status).toBe(200);
      // BEGIN, claim, open, COMMIT; the capture of the simulated bank; BEGIN, settle, complete, COMMIT. The plain committer claims with three
      // statements: read, lock, insert.
      expect(proxy.statements - before).toBe(committer === 'one by one' ? 11 : 9);
    });

    it('costs a replay one indexed read, which writes and locks nothing', async () => {
      await service.charge('replayed');
      const [before, row] = [proxy.statements, await rowVersion()];
      expect((await service.charge('replayed')).headers['idempotent-replayed']).toBe('true');
      // BEGIN, the claim that only reads, COMMIT.
      expect(proxy.statements - before).toBe(3);
      expect(await rowVersion()).toEqual(row);
    });
  });

  describe('a database that becomes unavailable', () => {
    it('answers 503 not_started, and does nothing, when the database is unavailable before the claim', async () => {
      const gone = await startProxy(database.url);
      const cutOff = await startService(gone.url);
      await gone.close();
      const response = await cutOff.charge('cut-off');
      expect(response.status).toBe(503);
      expect(response.body).toMatchObject({ code: 'database_unavailable', outcome: 'not_started', retryable: true });
      expect(response.headers['retry-after']).toBe('1');
      expect((await cutOff.http.get('/charges')).body).toMatchObject({
        code: 'database_unavailable',
        outcome: 'not_started',
      });
      expect((await cutOff.http.get('/health/live')).status).toBe(200);
      expect((await cutOff.http.get('/health/ready')).status).toBe(503);
      expect((await cutOff.http.get('/metrics')).text).toMatch(/^idempotency_oldest_unfinished_seconds Nan$/m);
      expect(await effects(database)).toEqual(NOTHING);
      await cutOff.stop();
    });

    it('answers 503 unknown when the database fails before it confirms a COMMIT, and a retry elsewhere finishes the charge once', async () => {
      const failing = await startProxy(database.url);
      const cutOff = await startService(failing.url);
      failing.failCommit('drop reply', 1);
      const pending = cutOff.charge('cut-off');
      await until(() => failing.landed === 1);
      await failing.close();
      const response = await pending;
      if (response.status !== 200)
        expect(response.body).toMatchObject({ code: 'database_unavailable', outcome: 'unknown' });
      const retry = await direct.charge('cut-off');
      expect(retry.status).toBe(200);
      expect(await effects(database)).toEqual(ONE_CHARGE);
      await cutOff.stop();
    });
  });
});
