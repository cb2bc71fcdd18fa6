import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { type Consumer, Inbox, InProcessBus, MessageSweeper, Relay } from '../../src/messaging/index.js';
import { LOCK_DUE, SWEEP_INBOX } from '../../src/messaging/messaging.sql.js';
import { call as callUrl, TWO_ACCOUNTS } from '../support/client.js';
import type { Client } from 'pg';
import { connect, createDatabase, type TestDatabase, withLimits } from '../support/database.js';
import {
  append,
  counter,
  counts,
  createCounts,
  failAt,
  featureOf,
  message,
  once,
  resetCounts,
  stopTheClock,
} from '../support/messages.js';
import { startProxy } from '../../harness/proxy.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';
import { expectProblem } from '../support/wire.js';

const marbles = counter('marbles');
const others = counter('others');
const SETTINGS = { ...TWO_ACCOUNTS, MESSAGE_RETRY_MS: '20', MESSAGE_MAX_ATTEMPTS: '3' };

let database: TestDatabase;
let service: TestService;

const start = (url = database.url) => startService(url, SETTINGS, [featureOf(marbles, others)]);

beforeAll(async () => {
  database = await createDatabase();
  await createCounts(database);
  service = await start();
});
beforeEach(async () => {
  await reset(database);
  await resetCounts(database, [marbles, others]);
});
const holders: Client[] = [];
afterEach(async () => {
  jest.restoreAllMocks();
  Barrier.openAll();
  await Promise.all(holders.splice(0).map((holder) => holder.end()));
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const relay = (app = service) => app.nest.get(Relay);
const inbox = () => service.nest.get(Inbox, { strict: false });
const call = (method: string, path: string, app = service) => callUrl(app.url, method, path);
const numbered = (count: number) => Array.from({ length: count }, (_, i) => message(i));
const failures = () => database.sql<Record<string, unknown>>('SELECT * FROM failed_messages ORDER BY message_id');
const unpublished = () => database.sql('SELECT id FROM outbox WHERE published_at IS NULL');
/** Holds the row that a consumer is about to write for a message, until it is let go. */
async function hold(consumer: string, { accountId, id }: ReturnType<typeof message>): Promise<() => Promise<void>> {
  const holder = await connect(database.url);
  holders.push(holder);
  await holder.query('BEGIN');
  await holder.query('INSERT INTO counts VALUES ($1, $2, $3, 0)', [accountId, consumer, id]);
  return async () => void (await holder.query('ROLLBACK'));
}

describe('a batch of which one message is bad', () => {
  beforeEach(stopTheClock);

  it('is parted a few times, rather than into every single message', async () => {
    failAt(marbles, 77);
    const deliveries = await inbox().deliver(marbles, numbered(300));
    expect(deliveries.flatMap((delivery, i) => (delivery === 'processed' ? [] : [`${delivery} ${i}`]))).toEqual([
      'failed 77',
    ]);
    expect(marbles.batches.length).toBeLessThan(2 * 10);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(300).filter((_, i) => i !== 77)));
    expect(await failures()).toHaveLength(1);
  });

  it('is processed around a message whose failure cannot be recorded, which is delivered again', async () => {
    const tooLong = message(Array.from({ length: 500 }, () => randomUUID()).join());
    const messages = [...numbered(20), tooLong, ...numbered(40).slice(20)];
    // More than once, because the search for the bad message has a deadline that a busy machine may miss.
    await until(async () => {
      const deliveries = await inbox().deliver(marbles, messages);
      return messages.filter((_, i) => deliveries[i] === 'failed').every((failed) => failed === tooLong);
    });
    expect(await counts(database, 'marbles')).toEqual(once(numbered(40)));
  });

  it('does not end a run of the relay that has more to publish', async () => {
    failAt(marbles, 77);
    await append(database, numbered(600));
    expect(await relay().runOnce()).toBe(599);
  });
});

describe('a batch of which every message is bad, and slow', () => {
  it('is given up before the relay loses its locks, and each time some of it is dealt with', async () => {
    marbles.before = async (tx) => {
      await tx.query('SELECT pg_sleep(0.1)');
      throw new Error('no marbles today');
    };
    await append(database, numbered(100));
    // With the limit of the service, rather than the patient one of the tests.
    const limited = await start(withLimits(database.url, { idle_in_transaction_session_timeout: 5_000 }));
    expect(await relay(limited).runOnce()).toBe(0);
    await limited.stop();
    // Put off by the relay in the transaction that holds its locks, which PostgreSQL ends after 5 s: half of what all would take.
    const put = await database.sql('SELECT FROM outbox WHERE attempts = 1 AND available_at > created_at');
    expect(put).toHaveLength(100);
    const counted = (await failures()).length;
    expect(counted).toBeGreaterThan(0);
    expect(counted).toBeLessThan(100);
  });
});

describe('a consumer', () => {
  it('that cannot even tell whether a message concerns it has failed at that one', async () => {
    const concerns: Consumer['concerns'] = ({ data }) => (data as { n: number }).n.toFixed() !== '3';
    const messages = [{ ...message(1), data: null }, message(2), message(3)];
    expect(await inbox().deliver({ ...marbles, concerns }, messages)).toEqual(['failed', 'processed', 'processed']);
    expect(await counts(database, 'marbles')).toEqual(once([message(2)]));
    expect(await failures()).toMatchObject([{ message_id: message(1).id, attempts: 1 }]);
  });

  it.each([
    ['what PostgreSQL cannot store', new Error('no \0 marble'), 'Error: no  marble'],
    ['more than anybody reads', new Error('x'.repeat(100_000)), `Error: ${'x'.repeat(993)}`],
    ['nothing', undefined, 'undefined'],
  ])('that fails with %s has failed all the same', async (_, error, recorded) => {
    marbles.before = () => {
      throw error as Error;
    };
    expect(await inbox().deliver(marbles, [message(1)])).toEqual(['failed']);
    expect(await failures()).toMatchObject([{ attempts: 1, last_error: recorded }]);
  });

  it('that takes longer than a statement may has failed, each time', async () => {
    marbles.before = async (tx) => {
      await tx.query('SET LOCAL statement_timeout = 50');
      await tx.query('SELECT pg_sleep(10)');
    };
    for (const delivery of ['failed', 'failed', 'dead', 'dead']) {
      expect(await inbox().deliver(marbles, [message(1)])).toEqual([delivery]);
    }
    expect(await failures()).toMatchObject([{ attempts: 3 }]);
  });

  it('that waits for a lock in vain has failed at nothing, and holds up no other consumer', async () => {
    const hasty = await start(withLimits(database.url, { lock_timeout: 200 }));
    const letGo = await hold('marbles', message(1));
    await append(database, [message(1)]);
    expect(await relay(hasty).runOnce()).toBe(0);
    expect(await counts(database, 'others')).toEqual(once([message(1)]));
    expect(await failures()).toEqual([]);
    await letGo();
    await hasty.stop();
    await until(async () => (await relay().runOnce()) === 1);
    for (const name of ['marbles', 'others']) expect(await counts(database, name)).toEqual(once([message(1)]));
  });
});

describe('a row of one account that is locked elsewhere', () => {
  it('holds up no message of another account', async () => {
    const hasty = await start(withLimits(database.url, { lock_timeout: 200 }));
    const [locked, other] = [message(1, 'acct_a'), message(1, 'acct_b')];
    const letGo = await hold('marbles', locked);
    await append(database, [locked, other]);
    expect(await relay(hasty).runOnce()).toBe(1);
    expect(await counts(database, 'marbles')).toEqual(once([other]));
    expect(await failures()).toEqual([]);
    await letGo();
    await hasty.stop();
    await until(async () => (await relay().runOnce()) === 1);
    expect(await counts(database, 'marbles')).toEqual(once([locked, other]));
  });
});

describe('a dead letter', () => {
  const PATH = `/dead-letters/marbles/${message(1).id}/redeliver`;
  const dead = () =>
    database.sql(
      `INSERT INTO failed_messages VALUES ('acct_a', 'marbles', $1, 'marble.counted', '{"n": 1}', now(), 3, 'no', now(), now())`,
      [message(1).id],
    );

  it('that was processed meanwhile, by a delivery at the same time, is one no more when it is sent again', async () => {
    await inbox().deliver(marbles, [message(1)]);
    await dead();
    expect((await call('POST', PATH)).body).toEqual({ delivery: 'processed' });
    expect(await failures()).toEqual([]);
    expectProblem(await call('POST', PATH), 404, 'not_found');
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });

  it('that was processed meanwhile does nothing when it is sent again, however long ago that was', async () => {
    await inbox().deliver(marbles, [message(1)]);
    await dead();
    await database.sql("UPDATE processed_messages SET processed_at = now() - interval '1 year'");
    await service.nest.get(MessageSweeper).runOnce();
    expect((await call('POST', PATH)).body).toEqual({ delivery: 'processed' });
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });

  it('is not tried by the bus any more, which may have forgotten that it was delivered', async () => {
    await dead();
    await append(database, numbered(3));
    expect(await relay().runOnce()).toBe(3);
    expect(await inbox().deliver(marbles, numbered(3))).toEqual(['processed', 'dead', 'processed']);
    expect(await counts(database, 'marbles')).toEqual(once([message(0), message(2)]));
    expect(await failures()).toMatchObject([{ attempts: 3 }]);
  });

  it('that cannot be processed now, since a row is locked, is neither gone nor tried', async () => {
    await dead();
    const hasty = await start(withLimits(database.url, { lock_timeout: 200 }));
    const letGo = await hold('marbles', message(1));
    expectProblem(await call('POST', PATH, hasty), 503, 'database_unavailable');
    expect(await failures()).toMatchObject([{ attempts: 3 }]);
    await letGo();
    await hasty.stop();
    expect((await call('POST', PATH)).body).toEqual({ delivery: 'processed' });
  });
});

describe('a relay that freezes while it publishes', () => {
  it('keeps its rows from others until PostgreSQL ends its transaction, and no longer', async () => {
    await append(database, numbered(3));
    const frozen = await connect(database.url);
    holders.push(frozen);
    await frozen.query('BEGIN');
    expect((await frozen.query(LOCK_DUE, [2])).rowCount).toBe(2);
    expect(await relay().runOnce()).toBe(1);
    await frozen.query('SET LOCAL idle_in_transaction_session_timeout = 100');
    await until(async () => (await relay().runOnce()) === 2);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
  });
});

describe('a database that is away', () => {
  it('makes the relay try again later, and metrics say that nothing is known', async () => {
    const proxy = await startProxy(database.url);
    const far = await startService(proxy.url, SETTINGS);
    await append(database, [message(1)]);
    await proxy.close();
    await expect(relay(far).runOnce()).rejects.toThrow();
    const { text } = await far.http.get('/metrics');
    expect(text).toMatch(/^messages_oldest_unpublished_seconds Nan$/m);
    expect(text).toMatch(/^messages_dead_letters Nan$/m);
    await far.stop();
    expect(await relay().runOnce()).toBe(1);
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });
});

describe('a bus that has not been started', () => {
  it('takes nothing: nobody would get it', async () => {
    await expect(new InProcessBus().publish([message(1)])).rejects.toThrow(/start/);
  });
});

describe('the sweep', () => {
  it('forgets nothing that the outbox has still to deliver', async () => {
    await inbox().deliver(marbles, [message(1)]);
    await append(database, [message(1)]);
    await database.sql("UPDATE processed_messages SET processed_at = now() - interval '1 year'");
    await service.nest.get(MessageSweeper).runOnce();
    expect(await relay().runOnce()).toBe(1);
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
    await service.nest.get(MessageSweeper).runOnce();
    expect(await database.sql("SELECT FROM processed_messages WHERE consumer = 'marbles'")).toEqual([]);
  });

  it('reads no more of the inbox than it deletes, also where it has deleted before', async () => {
    const fill = (age: string) =>
      database.sql(
        `INSERT INTO processed_messages
         SELECT 'acct_a', 'nobody', $1 || n, now() - $1::interval FROM generate_series(1, 20000) AS n`,
        [age],
      );
    await fill('1 year');
    await database.sql('VACUUM processed_messages');
    await database.sql('DELETE FROM processed_messages');
    await database.sql('VACUUM processed_messages');
    await fill('1 minute');
    await database.sql('VACUUM ANALYZE processed_messages');
    const client = await connect(database.url);
    await client.query('SET enable_seqscan = off');
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN (ANALYZE, BUFFERS OFF, TIMING OFF) ${SWEEP_INBOX}`.replaceAll('$1', '3600').replaceAll('$2', '1000'),
    );
    await client.end();
    expect(rows.map((row) => row['QUERY PLAN']).join('\n')).not.toMatch(/Rows Removed/);
  });
});

describe('a service that ends', () => {
  it('finishes the delivery under way, marks it as published, and begins no other', async () => {
    const slow = counter('slow');
    const ending = await startService(database.url, SETTINGS, [featureOf(slow)]);
    const barrier = new Barrier();
    slow.before = barrier.pass;
    await append(database, numbered(600));
    const run = relay(ending).runOnce();
    await barrier.reached.given;
    let ended = false;
    const end = ending.stop().then(() => (ended = true));
    expect((await service.charge('meanwhile', CHARGE, { authorization: 'Bearer sk_a' })).status).toBe(200);
    expect(ended).toBe(false);
    barrier.open();
    const published = await run;
    await end;
    expect(published).toBe(600 - (await unpublished()).filter(({ id }) => String(id).startsWith('marble')).length);
    expect(published).toBeGreaterThan(0);
    expect(published).toBeLessThan(600);
    expect(Object.values(await counts(database, 'slow'))).toEqual(Array(published).fill(1));
  });

  it('has enough with two connections, while it charges and relays', async () => {
    const narrow = await startService(database.url, { ...SETTINGS, DATABASE_POOL_SIZE: '2' });
    const replies = Array.from({ length: 20 }, (_, i) =>
      narrow.charge(`narrow-${i}`, CHARGE, { authorization: 'Bearer sk_a' }),
    );
    const relaying = until(async () => {
      await relay(narrow).runOnce();
      const [row] = await database.sql<{ amount: number }>('SELECT amount::int FROM balances');
      return row?.amount === 20 * CHARGE.amount;
    });
    for (const { status } of await Promise.all(replies)) expect(status).toBe(200);
    await relaying;
    await narrow.stop();
  });
});
