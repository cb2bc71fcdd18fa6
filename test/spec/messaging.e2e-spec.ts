// Goal: specify the outbox, the relay and the inbox: each message is stored with its cause and takes effect once.
// Method: run relays and inboxes of two replicas by hand, with consumers that count their work, and inspect the message tables.
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
  RELEASE_FRESH,
  SWEEP_INBOX,
  SWEEP_OUTBOX,
  TAKE_FRESH,
} from '../../src/messaging/messaging.sql.js';
import { call as callUrl, type Call, statusesOf, TWO_ACCOUNTS } from '../support/client.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
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
import { CHARGE, startService, type TestService } from '../support/service.js';
import { leaveBehind, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';
import { expectProblem } from '../support/wire.js';

const marbles = counter('marbles');
const others = counter('others');
const SETTINGS = { ...TWO_ACCOUNTS, MESSAGE_RETRY_MS: '20', MESSAGE_MAX_ATTEMPTS: '3' };

let database: TestDatabase;
let service: TestService;
/** A second replica, with consumers of the same names. */
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

const relayOf = (app = service) => app.nest.get(Relay);
const inboxOf = (app = service) => app.nest.get(Inbox, { strict: false });
const call = (method: string, path: string, options?: Call) => callUrl(service.url, method, path, options);
const charge = (key: string, options?: Call) => call('POST', '/charges', { key, body: CHARGE, ...options });
const numbered = (count: number, account?: string) => Array.from({ length: count }, (_, i) => message(i, account));
const outbox = () => database.sql<Record<string, unknown>>('SELECT * FROM outbox ORDER BY account_id, id');
const unpublished = async () => (await outbox()).filter((row) => row['published_at'] === null).length;
const failures = () => database.sql<Record<string, unknown>>('SELECT * FROM failed_messages ORDER BY message_id');
const received = () => database.sql('SELECT consumer, message_id FROM processed_messages ORDER BY 1, 2');
/** Ends the connections of all open transactions, as the death of their process would. */
const endTransactions = () =>
  database.sql(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'`,
  );
/** Runs a relay until every message is published. */
const deliverAll = () =>
  until(async () => {
    await relayOf().runOnce();
    return (await unpublished()) === 0;
  });

describe('a message', () => {
  it('appends charge.succeeded to the outbox with the charge that succeeded', async () => {
    const charged = await charge('order_1', { body: { ...CHARGE, order_id: 'order_1' } });
    const { id } = charged.body as { id: string };
    expect(await outbox()).toMatchObject([
      {
        account_id: 'acct_a',
        id: `charge.succeeded.${id}`,
        type: 'charge.succeeded',
        data: { charge_id: id, amount: 1999, currency: 'eur', order_id: 'order_1' },
        available_at: null,
        published_at: null,
      },
    ]);
  });

  it.each([
    ['a charge that is declined', 'tok_chargeDeclined', 402],
    ['a charge that is pending', 'tok_unavailable', 503],
  ])('appends no message for %s', async (_, source, status) => {
    expect((await charge('order_1', { body: { ...CHARGE, source } })).status).toBe(status);
    expect(await outbox()).toEqual([]);
  });

  it('commits neither the charge nor its message if the message cannot be stored', async () => {
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

  it('appends one message for a charge, whether its client or recovery finishes it', async () => {
    await leaveBehind(database, { key: 'order_1', captured: true, accountId: 'acct_a' });
    await leaveBehind(database, { key: 'order_2', accountId: 'acct_a' });
    await service.nest.get(Recovery).runOnce();
    expect((await charge('order_1')).status).toBe(200);
    expect((await outbox()).length).toBe(2);
  });
});

describe('a fresh message', () => {
  it('takes effect in the transaction that deletes it, so that it leaves no row in the outbox or the inbox', async () => {
    await appendFresh(database, numbered(3));
    expect([await relayOf().runOnce(), await relayOf().runOnce()]).toEqual([3, 0]);
    for (const name of ['marbles', 'others']) expect(await counts(database, name)).toEqual(once(numbered(3)));
    expect([await outbox(), await received()]).toEqual([[], []]);
  });

  it('takes effect once if the connection of the relay ends before its COMMIT, after one of two consumers has worked', async () => {
    await appendFresh(database, numbered(3));
    const barrier = new Barrier();
    others.before = barrier.pass;
    const dying = relayOf()
      .runOnce()
      .catch(() => 0);
    await barrier.reached.given;
    await endTransactions();
    barrier.open();
    await dying;
    await until(async () => {
      await relayOf(replica).runOnce();
      return (await unpublished()) === 0;
    });
    for (const name of ['marbles', 'others']) expect(await counts(database, name)).toEqual(once(numbered(3)));
  });

  it('takes effect once if two relays run at the same time, because the second one finds nothing to do', async () => {
    await appendFresh(database, numbered(3));
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const first = relayOf().runOnce();
    await barrier.reached.given;
    expect(await relayOf(replica).runOnce()).toBe(0);
    barrier.open();
    expect(await first).toBe(3);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
  });

  it('is delivered through the inbox if a consumer fails, so that the failure harms only its own message and consumer', async () => {
    await appendFresh(database, numbered(3));
    failAt(marbles, 1);
    expect(await relayOf().runOnce()).toBe(2);
    expect(await counts(database, 'marbles')).toEqual(once([message(0), message(2)]));
    expect(await counts(database, 'others')).toEqual(once(numbered(3)));
    expect(await unpublished()).toBe(1);
    marbles.before = () => undefined;
    await deliverAll();
    for (const name of ['marbles', 'others']) expect(await counts(database, name)).toEqual(once(numbered(3)));
    expect((await received()).length).toBe(2 * 3);
  });

  it('does not hold up other messages if a consumer fails with the error of a connection that it uses itself', async () => {
    await appendFresh(database, numbered(3));
    marbles.before = () => {
      throw Object.assign(new Error('no mail server'), { code: 'ECONNREFUSED' });
    };
    await relayOf()
      .runOnce()
      .catch(() => 0);
    expect(await counts(database, 'others')).toEqual(once(numbered(3)));
  });

  it('takes effect before younger ones', async () => {
    await append(database, numbered(501));
    // The last row of the table is the oldest message.
    await database.sql(`
      UPDATE outbox SET available_at = NULL, created_at = now() - substring(id from '[0-9]+$')::integer * interval '1 second'`);
    const order: string[][] = [];
    marbles.before = (_, messages) => order.push(messages.map(({ id }) => id));
    await relayOf().runOnce();
    expect(order[1]).toEqual([message(0).id]);
  });

  it('is released by a commit of its own before a broker gets it, because a relay must never take it as fresh again', async () => {
    await appendFresh(database, numbered(3));
    // A bus with a broker does not have this method.
    const { deliverWithin } = InProcessBus.prototype;
    Object.assign(InProcessBus.prototype, { deliverWithin: undefined });
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    try {
      const first = relayOf().runOnce();
      await barrier.reached.given;
      Object.assign(InProcessBus.prototype, { deliverWithin });
      expect(await relayOf(replica).runOnce()).toBe(0);
      expect((await outbox()).filter((row) => row['available_at'] === null)).toEqual([]);
      barrier.open();
      expect(await first).toBe(3);
    } finally {
      Object.assign(InProcessBus.prototype, { deliverWithin });
    }
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
    expect((await received()).length).toBe(2 * 3);
  });
});

describe('the relay', () => {
  it('publishes each due message once, and leaves messages that are not due', async () => {
    await append(database, numbered(3));
    await append(database, [message('later')], -3600);
    expect(await relayOf().runOnce()).toBe(3);
    expect(await relayOf().runOnce()).toBe(0);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
    expect(await unpublished()).toBe(1);
  });

  it('publishes 1200 messages in one run, in batches of at most 500', async () => {
    await append(database, numbered(1_200));
    expect(await relayOf().runOnce()).toBe(1_200);
    expect(marbles.batches).toEqual([500, 500, 200]);
  });

  it('skips the messages that another relay has locked, so that no two relays publish the same message', async () => {
    await append(database, numbered(600));
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const first = relayOf().runOnce();
    await barrier.reached.given;
    expect(await relayOf(replica).runOnce()).toBe(100);
    barrier.open();
    expect(await first).toBe(500);
    expect(marbles.batches).toEqual([500, 100]);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(600)));
  });

  it('publishes a message that is committed later than a younger one', async () => {
    const slow = await connect(database.url);
    await slow.query('BEGIN');
    await slow.query(
      `INSERT INTO outbox (account_id, id, type, data, created_at, available_at)
       VALUES ('acct_a', 'marble.counted.0', 'marble.counted', '{}', clock_timestamp(), clock_timestamp())`,
    );
    await append(database, [message(1)]);
    expect(await relayOf().runOnce()).toBe(1);
    await slow.query('COMMIT');
    await slow.end();
    expect(await relayOf().runOnce()).toBe(1);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(2)));
  });

  it.each(['before any consumer has worked', 'after one of two consumers has worked'])(
    'leaves the messages of a relay that dies to others at once, without a second effect (%s)',
    async (when) => {
      await append(database, numbered(3));
      const barrier = new Barrier();
      (when.startsWith('before') ? marbles : others).before = barrier.pass;
      const dying = relayOf()
        .runOnce()
        .catch(() => 0);
      await barrier.reached.given;
      await endTransactions();
      await until(async () => (await relayOf(replica).runOnce()) === 3);
      barrier.open();
      await dying;
      for (const name of ['marbles', 'others']) expect(await counts(database, name)).toEqual(once(numbered(3)));
      expect(await unpublished()).toBe(0);
    },
  );

  it('publishes messages again that it could not mark as published, without a second effect', async () => {
    await append(database, numbered(3));
    await database.sql('ALTER TABLE outbox ADD CONSTRAINT refuses CHECK (published_at IS NULL) NOT VALID');
    try {
      await expect(relayOf().runOnce()).rejects.toThrow(/refuses/);
    } finally {
      await database.sql('ALTER TABLE outbox DROP CONSTRAINT refuses');
    }
    expect([await relayOf().runOnce(), await relayOf().runOnce()]).toEqual([3, 0]);
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
  });

  it('postpones a message that the bus does not accept, for longer each time, up to one minute', async () => {
    await append(database, [message(1)]);
    const publisher = service.nest.get(Outbox);
    // The limit is 20 ms at first and doubles each time. The delay is random, between half of the limit and all of it.
    const delays = Array.from({ length: 16 }, (_, i) => Math.min(60_000, 20 * 2 ** i));
    for (const delayMs of delays) {
      const [due] = await database.sql<{ at: Date }>(
        'UPDATE outbox SET available_at = clock_timestamp() RETURNING available_at AS at',
      );
      expect(await publisher.publishDue(10, () => Promise.resolve([]))).toEqual({ due: 1, published: 0 });
      // Measured by the database's clock. The message was postponed after it became due and before this statement.
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

  it('keeps every message while the bus is unavailable, and publishes them when it is available again', async () => {
    await append(database, numbered(3));
    const bus = { publish: InProcessBus.prototype.publish };
    InProcessBus.prototype.publish = () => Promise.reject(new Error('unavailable'));
    try {
      expect(await relayOf().runOnce()).toBe(0);
      expect(await unpublished()).toBe(3);
    } finally {
      Object.assign(InProcessBus.prototype, bus);
    }
    await deliverAll();
    expect(await counts(database, 'marbles')).toEqual(once(numbered(3)));
  });

  it('does not delay a new charge while a consumer is slow', async () => {
    await append(database, numbered(3));
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const relaying = relayOf().runOnce();
    await barrier.reached.given;
    expect((await charge('order_1')).status).toBe(200);
    barrier.open();
    expect([await relaying, await relayOf().runOnce()]).toEqual([3, 1]);
  });
});

describe('the inbox', () => {
  it('does the work of a message once, however often it is delivered', async () => {
    for (let i = 0; i < 4; i++) {
      expect(await inboxOf().deliver(marbles, numbered(3))).toEqual(['processed', 'processed', 'processed']);
    }
    expect([marbles.batches, await counts(database, 'marbles')]).toEqual([[3], once(numbered(3))]);
  });

  it('does the work of a message once when one delivery contains it twice', async () => {
    await inboxOf().deliver(marbles, [message(1), message(1), message(2)]);
    expect(await counts(database, 'marbles')).toEqual(once([message(1), message(2)]));
  });

  it('does the work of a message once for each consumer and for each account', async () => {
    const messages = [message(1, 'acct_a'), message(1, 'acct_b')];
    for (const consumer of [marbles, others, marbles, others]) await inboxOf().deliver(consumer, messages);
    for (const name of ['marbles', 'others']) expect(await counts(database, name)).toEqual(once(messages));
  });

  it('makes a concurrent second delivery wait for the first, and then do nothing', async () => {
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const first = inboxOf().deliver(marbles, numbered(2));
    await barrier.reached.given;
    const second = inboxOf(replica).deliver(marbles, numbered(2).reverse());
    await until(async () => (await lockWaiters(database)) === 1);
    barrier.open();
    expect(await Promise.all([first, second])).toEqual([Array(2).fill('processed'), Array(2).fill('processed')]);
    expect([marbles.batches, await counts(database, 'marbles')]).toEqual([[2], once(numbered(2))]);
  });

  it('does the work in a concurrent second delivery when the first has failed', async () => {
    const barrier = new Barrier();
    marbles.before = async () => {
      marbles.before = () => undefined;
      await barrier.pass();
      throw new Error('the first delivery fails');
    };
    const first = inboxOf().deliver(marbles, [message(1)]);
    await barrier.reached.given;
    const second = inboxOf(replica).deliver(marbles, [message(1)]);
    barrier.open();
    expect(await Promise.all([first, second])).toEqual([['failed'], ['processed']]);
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });

  it('rolls back the work of a consumer together with the record of the message', async () => {
    marbles.after = () => {
      throw new Error('after the work');
    };
    expect(await inboxOf().deliver(marbles, [message(1)])).toEqual(['failed']);
    marbles.after = () => undefined;
    expect([await received(), await counts(database, 'marbles')]).toEqual([[], {}]);
    expect(await inboxOf().deliver(marbles, [message(1)])).toEqual(['processed']);
    expect([await counts(database, 'marbles'), await failures()]).toEqual([once([message(1)]), []]);
  });

  it('does not count a delivery as an attempt when the database was unavailable', async () => {
    const barrier = new Barrier();
    marbles.before = barrier.pass;
    const delivery = inboxOf().deliver(marbles, [message(1)]);
    await barrier.reached.given;
    await endTransactions();
    barrier.open();
    await expect(delivery).rejects.toThrow();
    expect([await failures(), await counts(database, 'marbles')]).toEqual([[], {}]);
    expect(await inboxOf().deliver(marbles, [message(1)])).toEqual(['processed']);
  });
});

describe('a message whose consumer fails', () => {
  it('processes the rest of the batch, and all of it in other consumers, when a consumer fails on one message', async () => {
    stopTheClock();
    failAt(marbles, 2);
    await append(database, numbered(4));
    await relayOf().runOnce();
    expect(await counts(database, 'marbles')).toEqual(once([0, 1, 3].map((n) => message(n))));
    expect(await counts(database, 'others')).toEqual(once(numbered(4)));
    expect(await failures()).toMatchObject([
      { consumer: 'marbles', message_id: message(2).id, attempts: 1, last_error: 'Error: no marble marble.counted.2' },
    ]);
    expect(await unpublished()).toBe(1);
  });

  it('delivers a failed message again until it succeeds, and then forgets its failures', async () => {
    failAt(marbles, 1);
    await append(database, [message(1)]);
    await relayOf().runOnce();
    marbles.before = () => undefined;
    await deliverAll();
    expect([await counts(database, 'marbles'), await failures()]).toEqual([once([message(1)]), []]);
    expect(await counts(database, 'others')).toEqual(once([message(1)]));
  });

  it('makes a message a dead letter after MESSAGE_MAX_ATTEMPTS, and lists it', async () => {
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
    expect(await relayOf().runOnce()).toBe(0);
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

  it('redelivers a dead letter only to the consumer that failed, and removes it when that succeeds', async () => {
    marbles.before = () => undefined;
    const sent = await call('POST', PATH);
    expect([sent.status, sent.body]).toEqual([200, { delivery: 'processed' }]);
    expect([await letters(), await counts(database, 'marbles')]).toEqual([0, once([message(1)])]);
    expect(await counts(database, 'others')).toEqual(once([message(1)]));
    expectProblem(await call('POST', PATH), 404, 'not_found');
  });

  it('does the work of a dead letter once when it is redelivered ten times at once', async () => {
    marbles.before = () => undefined;
    const answers = await Promise.all(Array.from({ length: 10 }, () => call('POST', PATH)));
    for (const { status } of answers) expect([200, 404]).toContain(status);
    expect(statusesOf(answers)[200]).toBeGreaterThan(0);
    expect(await counts(database, 'marbles')).toEqual(once([message(1)]));
  });

  it('keeps a dead letter whose redelivery fails, with its first time of death', async () => {
    const [before] = await failures();
    const sent = await call('POST', PATH);
    expect([sent.status, sent.body]).toEqual([200, { delivery: 'dead' }]);
    expect(await letters()).toBe(1);
    expect(await failures()).toMatchObject([{ attempts: 4, dead_at: before?.['dead_at'] }]);
  });

  it('hides a dead letter from other accounts, which can neither list nor redeliver it', async () => {
    expect(await letters({ account: 'acct_b' })).toBe(0);
    expectProblem(await call('POST', PATH, { account: 'acct_b' }), 404, 'not_found');
    expectProblem(await call('POST', '/dead-letters/marbles/marble.counted.9/redeliver'), 404, 'not_found');
    expectProblem(await call('POST', '/dead-letters/unknown/marble.counted.1/redeliver'), 404, 'not_found');
    expectProblem(await call('POST', '/dead-letters/a%20b/marble.counted.1/redeliver'), 400, 'validation_failed');
  });

  it('keeps dead letters and unpublished messages in the sweep, however old they are', async () => {
    await append(database, [message(2)]);
    for (const table of ['outbox', 'failed_messages']) {
      await database.sql(`UPDATE ${table} SET created_at = now() - interval '1 year'`);
    }
    await service.nest.get(MessageSweeper).runOnce();
    expect([await letters(), await unpublished()]).toEqual([1, 1]);
  });
});

describe('the sweep of messages', () => {
  it('sweeps published and processed messages past their retention, in batches', async () => {
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

  it('shows no balance for an account without charges', async () => {
    expect(await balances()).toEqual({ balances: [] });
  });

  it('adds the charges of each account by currency', async () => {
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

  it('adds each charge to the balance once, although two relays deliver its message repeatedly and in any order', async () => {
    for (let i = 0; i < 20; i++) await charge(`order_${i}`, { body: { amount: 10, currency: 'eur' } });
    // Fresh messages would be deleted by their first delivery.
    expect(await service.nest.get(Outbox).releaseFresh(20)).toBe(20);
    for (let i = 0; i < 5; i++) {
      await database.sql(`
        UPDATE outbox SET published_at = NULL, available_at = clock_timestamp() - random() * interval '1 hour'`);
      await Promise.all([relayOf().runOnce(), relayOf(replica).runOnce()]);
    }
    await deliverAll();
    expect(await balances()).toEqual({ balances: [{ currency: 'eur', amount: 200 }] });
  });
});

describe('the SQL statements of messaging', () => {
  it.each([
    ['TAKE_FRESH', TAKE_FRESH, [500]],
    ['RELEASE_FRESH', RELEASE_FRESH, [500]],
    ['LOCK_DUE', LOCK_DUE, [500]],
    ['MARK_PUBLISHED', MARK_PUBLISHED, [['acct_1'], ['1']]],
    ['POSTPONE', POSTPONE, [['acct_1'], ['1'], 1, 60]],
    ['RECEIVE', RECEIVE, ['marbles', ['acct_1'], ['1'], false]],
    ['LIST_DEAD', LIST_DEAD, ['acct_1', 100]],
    ['SWEEP_OUTBOX', SWEEP_OUTBOX, [3600, 1000]],
    ['SWEEP_INBOX', SWEEP_INBOX, [3600, 1000]],
    ['BACKLOG', BACKLOG, []],
  ])('reads a large table through an index in the statement %s', async (_, text, values) => {
    await database.sql(`
      INSERT INTO outbox (account_id, id, type, data, created_at, available_at, published_at)
      SELECT 'acct_' || n % 50, n::text, 'marble.ignored', '{}', now(), CASE WHEN n > 10 THEN now() END, CASE WHEN n > 20 THEN now() END
      FROM generate_series(1, 20000) AS n`);
    await database.sql(`
      INSERT INTO processed_messages SELECT 'acct_' || n % 50, 'a consumer', n::text, now() FROM generate_series(1, 20000) AS n`);
    await database.sql('ANALYZE outbox, processed_messages, failed_messages');
    const plan = await database.sql<{ 'QUERY PLAN': string }>(`EXPLAIN ${text}`, values);
    const lines = plan.map((row) => row['QUERY PLAN']).join('\n');
    expect(lines).not.toMatch(/Seq Scan on (outbox|processed_messages)/);
    // The time must be a condition of the index. As a filter, every entry of the index would be read.
    if (text.includes('statement_timestamp')) expect(lines).toMatch(/Index Cond: \(\w+_at <= \(?statement_timestamp/);
  });
});
