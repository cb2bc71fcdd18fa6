// Goal: prove that no cancelled statement leaves half an operation, although later statements of the same connection still run.
// Method: cancel BEGIN, COMMIT or a waiting statement at a known point, then cancel statements at random during 200 operations.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import { Recovery } from '../../src/idempotency/index.js';
import { connect, createDatabase, type TestDatabase } from '../support/database.js';
import { type BeginFault, type PostgresProxy, startProxy } from '../../harness/proxy.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { until } from '../support/waiting.js';

/**
 * PostgreSQL may cancel any statement, for example because an operator calls pg_cancel_backend or because a standby is promoted.
 * The connection stays open, so PostgreSQL runs the statements that were already sent behind the cancelled one.
 */

let database: TestDatabase;
let proxy: PostgresProxy;
/** Reaches the database through the proxy. */
let service: TestService;
/** A session that holds locks. */
let holder: Client;

beforeAll(async () => {
  database = await createDatabase();
  proxy = await startProxy(database.url);
  // Longer than the 2 s that the bank takes for `tok_slow`.
  service = await startService(proxy.url, { GATEWAY_TIMEOUT_MS: '5000' });
  holder = await connect(database.url);
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await proxy?.close();
  await holder?.end();
  await database?.drop();
});

const UNAVAILABLE = { status: 503, code: 'database_unavailable', retryable: true };
const ORDER = { order_id: 'order_1', items: [{ item_id: 'beans', quantity: 2, unit_amount: 50 }] };

const order = async (key: string) => service.http.post('/orders').set('idempotency-key', key).send(ORDER);
const keys = async () => (await database.sql('SELECT FROM processed_requests')).length;
const stockOf = async () => (await database.sql<{ stock: number }>('SELECT stock FROM inventory'))[0]?.stock;
const stockUp = () => database.sql(`INSERT INTO inventory VALUES ('acct_demo', 'beans', 10)`);

describe('a cancelled BEGIN', () => {
  it.each<[string, BeginFault]>([
    ['BEGIN alone', 'cancel begin'],
    ['BEGIN with the settings of its transaction', 'cancel behind begin'],
  ])(
    'leaves nothing of the claim that was sent behind a cancelled BEGIN, and the retry charges once (%s)',
    async (_, fault) => {
      proxy.failBegin(fault);
      const before = proxy.landed;
      const refused = await service.charge('cancelled');
      expect(proxy.landed).toBe(before + 1);
      expect(refused.body).toMatchObject({ ...UNAVAILABLE, outcome: 'not_started' });
      expect(await effects(database)).toEqual(NOTHING);
      const retry = await service.charge('cancelled');
      expect([retry.status, retry.headers['idempotent-replayed']]).toEqual([200, undefined]);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    },
  );

  it('leaves nothing of an order that was sent behind a cancelled BEGIN, and the retry orders once', async () => {
    await stockUp();
    proxy.failBegin('cancel begin');
    expect((await order('cancelled')).body).toMatchObject({ ...UNAVAILABLE, outcome: 'not_started' });
    expect(await keys()).toBe(0);
    expect((await order('cancelled')).status).toBe(200);
    expect(await stockOf()).toBe(8);
  });
});

describe('a cancelled COMMIT', () => {
  it.each([
    ['of the claim', 0],
    ['of the completion', 1],
  ])(
    'resolves a cancelled COMMIT %s by claiming the key again, and returns no open transaction to the pool',
    async (_, skip) => {
      proxy.failCommit('cancel commit', skip);
      const before = proxy.landed;
      expect((await service.charge('cancelled')).status).toBe(200);
      expect(proxy.landed).toBe(before + 1);
      expect(await effects(database)).toEqual(ONE_CHARGE);
      const open = `SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`;
      expect(await database.sql(open)).toEqual([]);
    },
  );
});

describe('a cancelled statement with others sent behind it', () => {
  /** Cancels the statement of the service that waits for a lock of `holder`. */
  const cancelWaiting = async () => {
    const cancel = `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'payments' AND wait_event_type = 'Lock'`;
    await until(async () => (await database.sql(cancel)).length === 1);
  };

  it.each([
    ['the phase', 'charges'],
    ['the completion', 'processed_requests'],
  ])(
    'answers 503 unknown when the statement of %s is cancelled, and the retry finishes the charge',
    async (_, table) => {
      const body = { ...CHARGE, source: 'tok_slow' };
      const pending = service.charge('cancelled', body);
      await until(async () => (await effects(database)).captures === 1);
      await holder.query(`BEGIN; SELECT FROM ${table} FOR UPDATE`);
      await cancelWaiting();
      expect((await pending).body).toMatchObject({ ...UNAVAILABLE, outcome: 'unknown' });
      await holder.query('ROLLBACK');
      expect((await service.charge('cancelled', body)).status).toBe(200);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    },
  );
});

describe('statements that are cancelled at random', () => {
  const CLIENTS = 8;
  const OPERATIONS_EACH = 25;
  /** Cancels a statement of a random connection of the service, 100 times. An idle connection ignores that. */
  const CANCEL = `
    DO $$
    DECLARE pids integer[] := ARRAY(
      SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'payments');
    BEGIN
      FOR i IN 1..100 LOOP
        PERFORM pg_cancel_backend(pids[1 + floor(random() * cardinality(pids))]), pg_sleep(0.0005);
      END LOOP;
    END $$`;

  it('leaves no key without its intent, and no false outcome, when statements are cancelled at random', async () => {
    await database.sql(`INSERT INTO inventory VALUES ('acct_demo', 'beans', 100000)`);
    let isOver = false;
    const storm = async () => {
      while (!isOver) await holder.query(CANCEL);
    };
    const statuses = new Set<number>();
    const notStarted: string[] = [];
    const operate = async (client: number) => {
      for (let i = 0; i < OPERATIONS_EACH; i++) {
        const key = `${client}-${i}`;
        const sent =
          i % 2
            ? service.charge(key)
            : service.http
                .post('/orders')
                .set('idempotency-key', key)
                .send({ ...ORDER, order_id: key });
        const answer = await sent;
        statuses.add(answer.status);
        if ((answer.body as { outcome?: string }).outcome === 'not_started') notStarted.push(key);
      }
    };
    const storming = storm();
    await Promise.all(Array.from({ length: CLIENTS }, (_, client) => operate(client)));
    isOver = true;
    await storming;
    expect([...statuses].filter((status) => ![200, 503].includes(status))).toEqual([]);
    const left = await database.sql<{ key: string }>('SELECT idempotency_key AS key FROM processed_requests');
    expect(notStarted.filter((key) => left.some((row) => row.key === key))).toEqual([]);
    const unfinished = await database.sql(`
      SELECT operation FROM processed_requests AS request WHERE completed_at IS NULL AND NOT EXISTS (
        SELECT FROM charges WHERE id = 'ch_' || replace(request.request_id::text, '-', ''))`);
    expect(unfinished).toEqual([]);
    await database.sql('UPDATE processed_requests SET locked_until = clock_timestamp() WHERE completed_at IS NULL');
    await service.nest.get(Recovery).runOnce();
    const { succeeded, captures, in_progress } = await effects(database);
    expect([captures, in_progress]).toEqual([succeeded, 0]);
  });
});
