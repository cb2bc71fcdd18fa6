import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { Recovery } from '../../src/idempotency/index.js';
import { Inbox, InProcessBus, MessageSweeper, Outbox, Relay } from '../../src/messaging/index.js';
import {
  BACKLOG,
  LIST_DEAD,
  LOCK_DUE,
  MARK_PUBLISHED,
  POSTPONE,
  RECEIVE,
  SWEEP_INBOX,
  SWEEP_OUTBOX,
} from '../../src/messaging/messaging.sql.js';
import { call as callUrl, type Call, statusesOf, TWO_ACCOUNTS } from '../support/client.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
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
import { CHARGE, startService, type TestService } from '../support/service.js';
import { leaveBehind, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';
import { expectProblem } from '../support/wire.js';

const marbles = counter('marbles');
const others = counter('others');
const SETTINGS = { ...TWO_ACCOUNTS, MESSAGE_RETRY_MS: '20', MESSAGE_MAX_ATTEMPTS: '3' };

let database: TestDatabase;
let service: TestService;
/** Another replica, with consumers of the same names. */
let replica: TestService;

beforeAll(async () => {
  database = await createDatabase();
  await createCounts(database);
  service = await startService(database.url, SETTINGS, [featureOf(marbles, others)]);
  replica = await startService(database.url, SETTINGS, [featureOf(marbles, others)]);
});
beforeEach(async () => {
  await reset(database);
  await resetCounts(database, [marbles, others]);
});
afterEach(() => {
  jest.restoreAllMocks();
  Barrier.openAll();
});
afterAll(async () => {
  await service?.stop();
  await replica?.stop();
  await database?.drop();
});

const relay = (app = service) => app.nest.get(Relay);
const inbox = (app = service) => app.nest.get(Inbox, { strict: false });
const call = (method: string, path: string, options?: Call) => callUrl(service.url, method, path, options);
const charge = (key: string, options?: Call) => call('POST', '/charges', { key, body: CHARGE, ...options });
const numbered = (count: number, account?: string) => Array.from({ length: count }, (_, i) => message(i, account));
const outbox = () => database.sql<Record<string, unknown>>('SELECT * FROM outbox ORDER BY account_id, id');
const unpublished = async () => (await outbox()).filter((row) => row['published_at'] === null).length;
const failures = () => database.sql<Record<string, unknown>>('SELECT * FROM failed_messages ORDER BY message_id');
const received = () => database.sql('SELECT consumer, message_id FROM processed_messages ORDER BY 1, 2');
/** Runs relays until nothing is left to be published. */
const deliverAll = () =>
  until(async () => {
    await relay().runOnce();
    return (await unpublished()) === 0;
  });

describe('a message', () => {
  it('is appended with what it tells of', async () => {
    const charged = await charge('order_1', { body: { ...CHARGE, order_id: 'order_1' } });
    const { id } = charged.body as { id: string };
    expect(await outbox()).toMatchObject([
      {
        account_id: 'acct_a',
        id: `charge.succeeded.${id}`,
        type: 'charge.succeeded',
        data: { charge_id: id, amount: 1999, currency: 'eur', order_id: 'order_1' },
        published_at: null,
      },
    ]);
  });

  it.each([
    ['a charge that is declined', 'tok_chargeDeclined', 402],
    ['a charge that is pending', 'tok_unavailable', 503],
  ])('is not appended for %s', async (_, source, status) => {
    expect((await charge('order_1', { body: { ...CHARGE, source } })).status).toBe(status);
    expect(await outbox()).toEqual([]);
  });

  it('is not there when its charge could not be committed, and there is no charge when it could not', async () => {
    await database.sql("ALTER TABLE outbox ADD CONSTRAINT refuses CHECK (type <> 'charge.succeeded') NOT VALID");
    try {
      expect((await charge('order_1')).status).toBe(500);
      expect(await database.sql('SELECT status FROM charges')).toEqual([{ status: 'pending' }]);
      expect(await outbox()).toEqual([]);
    } finally {
      await database.sql('ALTER TABLE outbox DROP CONSTRAINT refuses');
    }
    expect((await charge('order_1')).status).toBe(200);
    expect((await outbox()).length).toBe(1);
  });

  it('is appended once by whoever finishes the charge, client or recovery', async () => {
    await leaveBehind(database, { key: 'order_1', captured: true, accountId: 'acct_a' });
    await leaveBehind(database, { key: 'order_2', accountId: 'acct_a' });
    await service.nest.get(Recovery).runOnce();
    expect((await charge('order_1')).status).toBe(200);
    expect((await outbox()).length).toBe(2);
  });
});

describe('the relay', () => {
  it('publishes what is due, once, and leaves the rest', async () => {
    await append(database, numbered(3));
    await append(database, [message('later')], -3600);
    expect(await relay().runOnce()).toBe(3);
    expect(await relay().runOnce()).toBe(0);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
    expect(await unpublished()).toBe(1);
  });

  it('publishes more than fits into one batch in one run', async () => {
    await append(database, numbered(1_200));
    expect(await relay().runOnce()).toBe(1_200);
    expect(marbles.batches).toEqual([500, 500, 200]);
  });

  it('leaves to another what a first one is at, and never both have a row', async () => {
    await append(database, numbered(600));
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const first = relay().runOnce();
    await barrier.reached.given;
    expect(await relay(replica).runOnce()).toBe(100);
    barrier.open();
    expect(await first).toBe(500);
    expect(marbles.batches).toEqual([500, 100]);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(600)));
  });

  it('passes over no row that is committed later than a younger one', async () => {
    const slow = await connect(database.url);
    await slow.query('BEGIN');
    await slow.query(
      `INSERT INTO outbox (account_id, id, type, data, created_at, available_at)
       VALUES ('acct_a', 'marble.counted.0', 'marble.counted', '{}', clock_timestamp(), clock_timestamp())`,
    );
    await append(database, [message(1)]);
    expect(await relay().runOnce()).toBe(1);
    await slow.query('COMMIT');
    await slow.end();
    expect(await relay().runOnce()).toBe(1);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(2)));
  });

  it.each(['before the work is done', 'when it is done for one consumer'])(
    'that dies leaves its rows to others at once, and nothing is done twice: %s',
    async (when) => {
      await append(database, numbered(3));
      const barrier = new Barrier();
      (when.startsWith('before') ? marbles : others).before = barrier.pass;
      const dying = relay()
        .runOnce()
        .catch(() => 0);
      await barrier.reached.given;
      // All of its connections, as when its process is killed.
      await database.sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'`,
      );
      await until(async () => (await relay(replica).runOnce()) === 3);
      barrier.open();
      await dying;
      for (const name of ['marbles', 'others']) expect(await counts(database, name)).toEqual(once(numbered(3)));
      expect(await unpublished()).toBe(0);
    },
  );

  it('publishes again what it could not mark as published, which has no second effect', async () => {
    await append(database, numbered(3));
    await database.sql('ALTER TABLE outbox ADD CONSTRAINT refuses CHECK (published_at IS NULL) NOT VALID');
    try {
      await expect(relay().runOnce()).rejects.toThrow(/refuses/);
    } finally {
      await database.sql('ALTER TABLE outbox DROP CONSTRAINT refuses');
    }
    expect([await relay().runOnce(), await relay().runOnce()]).toEqual([3, 0]);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
  });

  it('keeps what a bus does not take, and waits longer after each time, but not for ever', async () => {
    await append(database, [message(1)]);
    const publisher = service.nest.get(Outbox);
    // 20 ms at first and twice as many each time, of which a random half to all.
    const delays = Array.from({ length: 16 }, (_, i) => Math.min(60_000, 20 * 2 ** i));
    for (const delayMs of delays) {
      const [due] = await database.sql<{ at: Date }>(
        'UPDATE outbox SET available_at = clock_timestamp() RETURNING available_at AS at',
      );
      expect(await publisher.publishDue(10, () => Promise.resolve([]))).toEqual({ due: 1, published: 0 });
      // By the clock of the database: the message was put off later than it was due, and earlier than now.
      const verdict = `
        SELECT available_at >= $1::timestamptz + $2 * interval '1 ms' / 2 AS "waits long enough",
               available_at <= clock_timestamp() + $2 * interval '1 ms' AS "does not wait longer" FROM outbox`;
      expect(await database.sql(verdict, [due?.at, delayMs])).toEqual([
        { 'waits long enough': true, 'does not wait longer': true },
      ]);
    }
    expect(await database.sql('SELECT attempts, published_at FROM outbox')).toEqual([
      { attempts: 16, published_at: null },
    ]);
  });

  it('loses nothing when the bus is away, and goes on when it is back', async () => {
    await append(database, numbered(3));
    const bus = { publish: InProcessBus.prototype.publish };
    InProcessBus.prototype.publish = () => Promise.reject(new Error('away'));
    try {
      expect(await relay().runOnce()).toBe(0);
      expect(await unpublished()).toBe(3);
    } finally {
      Object.assign(InProcessBus.prototype, bus);
    }
    await deliverAll();
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
  });

  it('holds up nobody who charges while a consumer takes its time', async () => {
    await append(database, numbered(3));
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const relaying = relay().runOnce();
    await barrier.reached.given;
    expect((await charge('order_1')).status).toBe(200);
    barrier.open();
    expect([await relaying, await relay().runOnce()]).toEqual([3, 1]);
  });
});

describe('the inbox', () => {
  it('does the work of a message once, however often it is delivered', async () => {
    for (let i = 0; i < 4; i++) {
      expect(await inbox().deliver(marbles, numbered(3))).toEqual(['processed', 'processed', 'processed']);
    }
    expect([marbles.batches, await counts(database, 'marbles')]).toEqual([[3], once(numbered(3))]);
  });

  it('does it once when it is there twice in one delivery', async () => {
    await inbox().deliver(marbles, [message(1), message(1), message(2)]);
    expect(await counts(database, 'marbles')).toEqual(once([message(1), message(2)]));
  });

  it('does it once for each consumer, and for each account', async () => {
    const messages = [message(1, 'acct_a'), message(1, 'acct_b')];
    for (const consumer of [marbles, others, marbles, others]) await inbox().deliver(consumer, messages);
    for (const name of ['marbles', 'others']) expect(await counts(database, name)).toEqual(once(messages));
  });

  it('makes a second delivery at the same time wait for the first, and then do nothing', async () => {
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const first = inbox().deliver(marbles, numbered(2));
    await barrier.reached.given;
    const second = inbox(replica).deliver(marbles, numbered(2).reverse());
    await until(async () => (await lockWaiters(database)) === 1);
    barrier.open();
    expect(await Promise.all([first, second])).toEqual([Array(2).fill('processed'), Array(2).fill('processed')]);
    expect([marbles.batches, await counts(database, 'marbles')]).toEqual([[2], once(numbered(2))]);
  });

  it('lets a second delivery do the work when the first has failed', async () => {
    const barrier = new Barrier();
    marbles.before = async () => {
      marbles.before = () => undefined;
      await barrier.pass();
      throw new Error('bad luck');
    };
    const first = inbox().deliver(marbles, [message(1)]);
    await barrier.reached.given;
    const second = inbox(replica).deliver(marbles, [message(1)]);
    barrier.open();
    expect(await Promise.all([first, second])).toEqual([['failed'], ['processed']]);
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });

  it('rolls back record and work together', async () => {
    marbles.after = () => {
      throw new Error('after the work');
    };
    expect(await inbox().deliver(marbles, [message(1)])).toEqual(['failed']);
    marbles.after = () => undefined;
    expect([await received(), await counts(database, 'marbles')]).toEqual([[], {}]);
    expect(await inbox().deliver(marbles, [message(1)])).toEqual(['processed']);
    expect([await counts(database, 'marbles'), await failures()]).toEqual([once([message(1)]), []]);
  });

  it('takes it for no attempt when the database was away', async () => {
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const delivery = inbox().deliver(marbles, [message(1)]);
    await barrier.reached.given;
    await database.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'`,
    );
    barrier.open();
    await expect(delivery).rejects.toThrow();
    expect([await failures(), await counts(database, 'marbles')]).toEqual([[], {}]);
    expect(await inbox().deliver(marbles, [message(1)])).toEqual(['processed']);
  });
});

describe('a message that a consumer fails at', () => {
  it('harms no other in its batch, and no other consumer', async () => {
    stopTheClock();
    failAt(marbles, 2);
    await append(database, numbered(4));
    await relay().runOnce();
    expect(await counts(database, 'marbles')).toEqual(once([0, 1, 3].map((n) => message(n))));
    expect(await counts(database, 'others')).toEqual(once(numbered(4)));
    expect(await failures()).toMatchObject([
      { consumer: 'marbles', message_id: message(2).id, attempts: 1, last_error: 'Error: no marble marble.counted.2' },
    ]);
    expect(await unpublished()).toBe(1);
  });

  it('is delivered again until it succeeds, and its failures are forgotten', async () => {
    failAt(marbles, 1);
    await append(database, [message(1)]);
    await relay().runOnce();
    marbles.before = () => undefined;
    await deliverAll();
    expect([await counts(database, 'marbles'), await failures()]).toEqual([once([message(1)]), []]);
    expect(await counts(database, 'others')).toEqual(once([message(1)]));
  });

  it('is a dead letter after MESSAGE_MAX_ATTEMPTS, which can be looked at', async () => {
    failAt(marbles, 1);
    await append(database, numbered(3));
    await deliverAll();
    const listed = await call('GET', '/dead-letters');
    expect(listed.body).toEqual({
      object: 'list',
      data: [
        {
          consumer: 'marbles',
          message_id: message(1).id,
          type: 'marble.counted',
          data: { n: 1 },
          created_at: expect.stringMatching(/Z$/),
          attempts: 3,
          last_error: 'Error: no marble marble.counted.1',
          dead_at: expect.stringMatching(/Z$/),
        },
      ],
    });
    expect(await counts(database, 'marbles')).toEqual(once([message(0), message(2)]));
    expect(await relay().runOnce()).toBe(0);
  });
});

describe('a dead letter', () => {
  const PATH = `/dead-letters/marbles/${message(1).id}/redeliver`;
  const letters = async (options?: Call) =>
    ((await call('GET', '/dead-letters', options)).body as { data: unknown[] }).data.length;

  beforeEach(async () => {
    failAt(marbles, 1);
    await append(database, [message(1)]);
    await deliverAll();
    expect(await letters()).toBe(1);
  });

  it('is sent again to the consumer that failed at it, and to no other, and is one no more', async () => {
    marbles.before = () => undefined;
    const sent = await call('POST', PATH);
    expect([sent.status, sent.body]).toEqual([200, { delivery: 'processed' }]);
    expect([await letters(), await counts(database, 'marbles')]).toEqual([0, once([message(1)])]);
    expect(await counts(database, 'others')).toEqual(once([message(1)]));
    expectProblem(await call('POST', PATH), 404, 'not_found');
  });

  it('takes effect once when it is sent again many times at once', async () => {
    marbles.before = () => undefined;
    const answers = await Promise.all(Array.from({ length: 10 }, () => call('POST', PATH)));
    for (const { status } of answers) expect([200, 404]).toContain(status);
    expect(statusesOf(answers)[200]).toBeGreaterThan(0);
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });

  it('that fails again is as dead as before', async () => {
    const [before] = await failures();
    const sent = await call('POST', PATH);
    expect([sent.status, sent.body]).toEqual([200, { delivery: 'dead' }]);
    expect(await letters()).toBe(1);
    expect(await failures()).toMatchObject([{ attempts: 4, dead_at: before?.['dead_at'] }]);
  });

  it('is nobody else’s: another account neither sees it nor can send it', async () => {
    expect(await letters({ account: 'acct_b' })).toBe(0);
    expectProblem(await call('POST', PATH, { account: 'acct_b' }), 404, 'not_found');
    expectProblem(await call('POST', '/dead-letters/marbles/marble.counted.9/redeliver'), 404, 'not_found');
    expectProblem(await call('POST', '/dead-letters/nobody/marble.counted.1/redeliver'), 404, 'not_found');
    expectProblem(await call('POST', '/dead-letters/a%20b/marble.counted.1/redeliver'), 400, 'validation_failed');
  });

  it('is kept by the sweep, as is what is not published', async () => {
    await append(database, [message(2)]);
    for (const table of ['outbox', 'failed_messages']) {
      await database.sql(`UPDATE ${table} SET created_at = now() - interval '1 year'`);
    }
    await service.nest.get(MessageSweeper).runOnce();
    expect([await letters(), await unpublished()]).toEqual([1, 1]);
  });
});

describe('the sweep of messages', () => {
  it('deletes what was published and processed longer ago than it is kept, in batches', async () => {
    const count = 2_500;
    await append(database, numbered(count));
    await deliverAll();
    await append(database, [message('young')]);
    await database.sql("UPDATE outbox SET published_at = now() - interval '169 hours' WHERE published_at IS NOT NULL");
    await database.sql("UPDATE processed_messages SET processed_at = now() - interval '169 hours'");
    await deliverAll();
    expect(await service.nest.get(MessageSweeper).runOnce()).toBe(count * 3);
    expect((await outbox()).map((row) => row['id'])).toEqual([message('young').id]);
    expect((await received()).length).toBe(2);
  });
});

describe('GET /balance', () => {
  const balances = async (options?: Call) => (await call('GET', '/balance', options)).body as unknown;

  it('has nothing of somebody who has charged nothing', async () => {
    expect(await balances()).toEqual({ balances: [] });
  });

  it('adds charges by currency, and for each account', async () => {
    await charge('order_1');
    await charge('order_2', { body: { amount: 1, currency: 'usd' } });
    await charge('order_3', { body: { amount: 501, currency: 'eur' } });
    await charge('order_4', { body: { ...CHARGE, source: 'tok_chargeDeclined' } });
    await charge('order_1', { account: 'acct_b' });
    await deliverAll();
    expect(await balances()).toEqual({
      balances: [
        { currency: 'eur', amount: 2500 },
        { currency: 'usd', amount: 1 },
      ],
    });
    expect(await balances({ account: 'acct_b' })).toEqual({ balances: [{ currency: 'eur', amount: 1999 }] });
  });

  it('adds each charge once, though its message is delivered many times, in any order, at the same time', async () => {
    for (let i = 0; i < 20; i++) await charge(`order_${i}`, { body: { amount: 10, currency: 'eur' } });
    for (let i = 0; i < 5; i++) {
      await database.sql(`
        UPDATE outbox SET published_at = NULL, available_at = clock_timestamp() - random() * interval '1 hour'`);
      await Promise.all([relay().runOnce(), relay(replica).runOnce()]);
    }
    await deliverAll();
    expect(await balances()).toEqual({ balances: [{ currency: 'eur', amount: 200 }] });
  });
});

describe('the statements of messaging', () => {
  it.each([
    ['LOCK_DUE', LOCK_DUE, [500]],
    ['MARK_PUBLISHED', MARK_PUBLISHED, [['acct_1'], ['1']]],
    ['POSTPONE', POSTPONE, [['acct_1'], ['1'], 1, 60]],
    ['RECEIVE', RECEIVE, ['marbles', ['acct_1'], ['1'], false]],
    ['LIST_DEAD', LIST_DEAD, ['acct_1', 100]],
    ['SWEEP_OUTBOX', SWEEP_OUTBOX, [3600, 1000]],
    ['SWEEP_INBOX', SWEEP_INBOX, [3600, 1000]],
    ['BACKLOG', BACKLOG, []],
  ])('read no more of a large table than they need: %s', async (_, text, values) => {
    await database.sql(`
      INSERT INTO outbox (account_id, id, type, data, created_at, available_at, published_at)
      SELECT 'acct_' || n % 50, n::text, 'nobody.cares', '{}', now(), now(), CASE WHEN n > 20 THEN now() END
      FROM generate_series(1, 20000) AS n`);
    await database.sql(`
      INSERT INTO processed_messages SELECT 'acct_' || n % 50, 'nobody', n::text, now() FROM generate_series(1, 20000) AS n`);
    await database.sql('ANALYZE outbox, processed_messages, failed_messages');
    const plan = await database.sql<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`, values);
    const lines = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(lines).not.toMatch(/Seq Scan on (outbox|processed_messages)/);
    // An index that is searched by time, rather than read to its end with every entry compared.
    if (text.includes('statement_timestamp')) expect(lines).toMatch(/Index Cond: \(\w+_at <= \(?statement_timestamp/);
  });
});
