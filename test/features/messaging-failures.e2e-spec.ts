import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { DataSource } from 'typeorm';
import { type Consumer, Inbox, InProcessBus, MessageSweeper, Relay } from '../../src/messaging/index.js';
import { LOCK_DUE, SWEEP_INBOX } from '../../src/messaging/messaging.sql.js';
import { call as callUrl, TWO_ACCOUNTS } from '../support/client.js';
import type { Client } from 'pg';
import { connect, createDatabase, type TestDatabase, withLimits } from '../support/database.js';
import {
  append,
  appendFresh,
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
/** Locks the row that a consumer will write for a message. Returns a function that releases the lock. */
async function hold(consumer: string, { accountId, id }: ReturnType<typeof message>): Promise<() => Promise<void>> {
  const holder = await connect(database.url);
  holders.push(holder);
  await holder.query('BEGIN');
  await holder.query('INSERT INTO counts VALUES ($1, $2, $3, 0)', [accountId, consumer, id]);
  return async () => void (await holder.query('ROLLBACK'));
}

describe('a batch with one bad message', () => {
  beforeEach(stopTheClock);

  it('splits a batch into halves a few times to isolate its bad message, and not into single messages', async () => {
    failAt(marbles, 77);
    const deliveries = await inbox().deliver(marbles, numbered(300));
    expect(deliveries.flatMap((delivery, i) => (delivery === 'processed' ? [] : [`${delivery} ${i}`]))).toEqual([
      'failed 77',
    ]);
    expect(marbles.batches.length).toBeLessThan(2 * 10);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(300).filter((_, i) => i !== 77)));
    expect(await failures()).toHaveLength(1);
  });

  it('processes the other messages if the failure of the bad message cannot be stored, and delivers the bad message again', async () => {
    const tooLong = message(Array.from({ length: 500 }, () => randomUUID()).join());
    const messages = [...numbered(20), tooLong, ...numbered(40).slice(20)];
    // Several deliveries, because a busy machine may not finish splitting the batch before its deadline.
    await until(async () => {
      const deliveries = await inbox().deliver(marbles, messages);
      return messages.filter((_, i) => deliveries[i] === 'failed').every((failed) => failed === tooLong);
    });
    expect(await counts(database, 'marbles')).toEqual(once(numbered(40)));
  });

  it('does not end a run of the relay while the outbox has more messages to publish', async () => {
    failAt(marbles, 77);
    await append(database, numbered(600));
    expect(await relay().runOnce()).toBe(599);
  });
});

describe('a slow batch in which every message is bad', () => {
  it('splits a slow batch only until a deadline, so that the relay keeps its row locks, and counts the failure of at least one message', async () => {
    marbles.before = async (tx) => {
      await tx.query('SELECT pg_sleep(0.1)');
      throw new Error('no marbles today');
    };
    await append(database, numbered(100));
    // The limit of the service. The tests otherwise use a longer one.
    const limited = await start(withLimits(database.url, { idle_in_transaction_session_timeout: 5_000 }));
    expect(await relay(limited).runOnce()).toBe(0);
    await limited.stop();
    // The relay postpones the messages in the transaction that holds its locks. PostgreSQL ends that transaction after 5 s of idling, and all
    // messages together would take twice as long.
    const postponed = await database.sql('SELECT FROM outbox WHERE attempts = 1 AND available_at > created_at');
    expect(postponed).toHaveLength(100);
    const counted = (await failures()).length;
    expect(counted).toBeGreaterThan(0);
    expect(counted).toBeLessThan(100);
  });
});

describe('a consumer', () => {
  it('counts a failure of only the message for which a consumer throws while it selects messages', async () => {
    const concerns: Consumer['concerns'] = ({ data }) => (data as { n: number }).n.toFixed() !== '3';
    const messages = [{ ...message(1), data: null }, message(2), message(3)];
    expect(await inbox().deliver({ ...marbles, concerns }, messages)).toEqual(['failed', 'processed', 'processed']);
    expect(await counts(database, 'marbles')).toEqual(once([message(2)]));
    expect(await failures()).toMatchObject([{ message_id: message(1).id, attempts: 1 }]);
  });

  it.each([
    ['an error that PostgreSQL cannot store', new Error('no \0 marble'), 'Error: no  marble'],
    ['a very long error', new Error('x'.repeat(100_000)), `Error: ${'x'.repeat(993)}`],
    ['undefined instead of an error', undefined, 'undefined'],
  ])('counts a failed attempt if a consumer throws %s', async (_, error, recorded) => {
    marbles.before = () => {
      throw error as Error;
    };
    expect(await inbox().deliver(marbles, [message(1)])).toEqual(['failed']);
    expect(await failures()).toMatchObject([{ attempts: 1, last_error: recorded }]);
  });

  it('makes a message a dead letter if its consumer exceeds statement_timeout in every attempt', async () => {
    marbles.before = async (tx) => {
      await tx.query('SET LOCAL statement_timeout = 50');
      await tx.query('SELECT pg_sleep(10)');
    };
    for (const delivery of ['failed', 'failed', 'dead', 'dead']) {
      expect(await inbox().deliver(marbles, [message(1)])).toEqual([delivery]);
    }
    expect(await failures()).toMatchObject([{ attempts: 3 }]);
  });

  it('counts no failed attempt if a consumer exceeds lock_timeout, and does not delay other consumers', async () => {
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

describe('a row of one account that another transaction has locked', () => {
  it.each([
    ['released', append],
    ['fresh', appendFresh],
  ])('delivers the %s messages of one account although a row of another account is locked', async (_, append) => {
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

describe('a locked row of one account and a bad message of another account', () => {
  it('fails only the messages of a locked account and a bad message, and counts a failed attempt of the bad message only', async () => {
    const hasty = await start(withLimits(database.url, { lock_timeout: 200 }));
    stopTheClock();
    const locked = [message(1, 'acct_a'), message(2, 'acct_a')];
    const others = [10, 11, 12, 13].map((n) => message(n, 'acct_b'));
    const letGo = await hold('marbles', message(1, 'acct_a'));
    failAt(marbles, 12);
    const outcomes = await hasty.nest.get(Inbox, { strict: false }).deliver(marbles, [...locked, ...others]);
    expect(outcomes).toEqual(['failed', 'failed', 'processed', 'processed', 'failed', 'processed']);
    expect(await failures()).toMatchObject([{ message_id: message(12).id, account_id: 'acct_b', attempts: 1 }]);
    await letGo();
    await hasty.stop();
  });
});

describe('a dead letter', () => {
  const PATH = `/dead-letters/marbles/${message(1).id}/redeliver`;
  const dead = () =>
    database.sql(
      `INSERT INTO failed_messages VALUES ('acct_a', 'marbles', $1, 'marble.counted', '{"n": 1}', now(), 3, 'no', now(), now())`,
      [message(1).id],
    );

  it('deletes a dead letter on redelivery if a concurrent delivery has processed its message', async () => {
    await inbox().deliver(marbles, [message(1)]);
    await dead();
    expect((await call('POST', PATH)).body).toEqual({ delivery: 'processed' });
    expect(await failures()).toEqual([]);
    expectProblem(await call('POST', PATH), 404, 'not_found');
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });

  it('redelivers a dead letter without a second effect if a concurrent delivery has processed its message, even a year later', async () => {
    await inbox().deliver(marbles, [message(1)]);
    await dead();
    await database.sql("UPDATE processed_messages SET processed_at = now() - interval '1 year'");
    await service.nest.get(MessageSweeper).runOnce();
    expect((await call('POST', PATH)).body).toEqual({ delivery: 'processed' });
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });

  it('skips a dead letter when the bus delivers its message once more', async () => {
    await dead();
    await append(database, numbered(3));
    expect(await relay().runOnce()).toBe(3);
    expect(await inbox().deliver(marbles, numbered(3))).toEqual(['processed', 'dead', 'processed']);
    expect(await counts(database, 'marbles')).toEqual(once([message(0), message(2)]));
    expect(await failures()).toMatchObject([{ attempts: 3 }]);
  });

  it('keeps a dead letter, and counts no attempt, if its redelivery meets a locked row', async () => {
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
  it('unlocks the rows of a frozen relay when PostgreSQL ends its idle transaction', async () => {
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

describe('an unavailable database', () => {
  it('ends a run of the relay with an error while the database is unavailable, reports the metrics of the backlog as NaN, and publishes later', async () => {
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
  it('refuses to publish and to deliver, because no consumer would get the messages', async () => {
    await expect(new InProcessBus().publish([message(1)])).rejects.toThrow(/start/);
    const { manager } = service.nest.get(DataSource);
    await expect(new InProcessBus().deliverWithin(manager, [message(1)])).rejects.toThrow(/start/);
  });
});

describe('the sweep', () => {
  it('keeps the inbox rows of messages that the outbox still has to publish', async () => {
    await inbox().deliver(marbles, [message(1)]);
    await append(database, [message(1)]);
    await database.sql("UPDATE processed_messages SET processed_at = now() - interval '1 year'");
    await service.nest.get(MessageSweeper).runOnce();
    expect(await relay().runOnce()).toBe(1);
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
    await service.nest.get(MessageSweeper).runOnce();
    expect(await database.sql("SELECT FROM processed_messages WHERE consumer = 'marbles'")).toEqual([]);
  });

  it('reads only the inbox rows that it deletes, even where earlier sweeps have left dead index entries', async () => {
    const fill = (age: string) =>
      database.sql(
        `INSERT INTO processed_messages
         SELECT 'acct_a', 'unused', $1 || n, now() - $1::interval FROM generate_series(1, 20000) AS n`,
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

describe('a service that shuts down', () => {
  it('finishes the running delivery, marks its messages as published, and starts no further delivery', async () => {
    const slow = counter('slow');
    const ending = await startService(database.url, SETTINGS, [featureOf(slow)]);
    const barrier = new Barrier();
    slow.before = barrier.pass;
    await append(database, numbered(600));
    const run = relay(ending).runOnce();
    await barrier.reached.given;
    let ended = false;
    const end = ending.stop().then(() => (ended = true));
    expect((await service.charge('during-shutdown', CHARGE, { authorization: 'Bearer sk_a' })).status).toBe(200);
    expect(ended).toBe(false);
    barrier.open();
    const published = await run;
    await end;
    expect(published).toBe(600 - (await unpublished()).filter(({ id }) => String(id).startsWith('marble')).length);
    expect(published).toBeGreaterThan(0);
    expect(published).toBeLessThan(600);
    expect(Object.values(await counts(database, 'slow'))).toEqual(Array(published).fill(1));
  });
});

describe('a service with a pool of two connections', () => {
  it('charges and relays at the same time without running out of connections', async () => {
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
