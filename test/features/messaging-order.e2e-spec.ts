import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { type Consumer, Consumers, Inbox, type Message, Relay } from '../../src/messaging/index.js';
import { call as callUrl, type Call, TWO_ACCOUNTS } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, holdAnswer, startService, type TestService } from '../support/service.js';
import { effects, reset } from '../support/state.js';
import { until } from '../support/waiting.js';

let database: TestDatabase;
let service: TestService;
let replica: TestService;

beforeAll(async () => {
  database = await createDatabase();
  [service, replica] = [await startService(database.url, TWO_ACCOUNTS), await startService(database.url, TWO_ACCOUNTS)];
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await replica?.stop();
  await database?.drop();
});

const call = (method: string, path: string, options?: Call) => callUrl(service.url, method, path, options);
const deliver = (app: TestService, consumer: Consumer, messages: readonly Message[]) =>
  app.nest.get(Inbox, { strict: false }).deliver(consumer, messages);
const consumersOf = (app: TestService) => app.nest.get(Consumers).all();
const stock = () => database.sql("INSERT INTO inventory VALUES ('acct_a', 'beans', 1000)");
const place = (order_id: string) =>
  call('POST', '/orders', { body: { order_id, items: [{ item_id: 'beans', quantity: 1, unit_amount: 100 }] } });

const charged = (id: number, amount: number, order_id: string | null = null, accountId = 'acct_a'): Message => ({
  accountId,
  id: `charge.succeeded.ch_${id}`,
  type: 'charge.succeeded',
  data: { charge_id: `ch_${id}`, amount, currency: 'eur', order_id },
  createdAt: new Date(),
});

describe('messages about charges and new orders', () => {
  const MESSAGES = [charged(1, 60, 'order_1'), charged(2, 40, 'order_1'), charged(3, 99, 'order_2'), charged(4, 7)];
  const ORDERS = ['order_1', 'order_2'];
  const EVENTS = [...MESSAGES, ...ORDERS];

  async function apply(event: Message | string): Promise<void> {
    if (typeof event === 'string') expect((await place(event)).status).toBe(200);
    else for (const consumer of consumersOf(service)) await deliver(service, consumer, [event]);
  }

  it('leads to the same balances and orders in every sequence of messages and orders, however often each message is delivered', async () => {
    // Each event at least once, and some events again.
    const histories = fc
      .array(fc.constantFrom(...EVENTS), { maxLength: 8 })
      .chain((again) => fc.shuffledSubarray([...EVENTS, ...again], { minLength: EVENTS.length + again.length }));
    await fc.assert(
      fc.asyncProperty(histories, async (history) => {
        await reset(database);
        await stock();
        for (const event of history) await apply(event);
        expect((await call('GET', '/balance')).body).toEqual({ balances: [{ currency: 'eur', amount: 206 }] });
        const orders = await database.sql('SELECT order_id, status FROM orders ORDER BY 1');
        expect(orders).toEqual([
          { order_id: 'order_1', status: 'paid' },
          { order_id: 'order_2', status: 'placed' },
        ]);
        expect(await database.sql('SELECT order_id, amount::int FROM order_payments ORDER BY 1')).toEqual([
          { order_id: 'order_1', amount: 100 },
          { order_id: 'order_2', amount: 99 },
        ]);
      }),
      { numRuns: 40 },
    );
  });
});

describe('batches that two replicas get at the same time, in opposite order', () => {
  const ACCOUNTS = ['acct_a', 'acct_b'];
  const COUNT = 60;
  const overlapping = Array.from({ length: COUNT }, (_, i) =>
    charged(i, 10, `order_${i % 7}`, ACCOUNTS[i % ACCOUNTS.length]),
  );
  /** Other charges of the same accounts and orders, so that both batches are new to the inbox and write the same rows. */
  const alike = overlapping.map((message, i) => ({ ...message, id: `charge.succeeded.other_${i}` }));

  /** Charges of a third account. They make one batch longer, so that a hash table over that batch has another order. */
  const more = Array.from({ length: 200 }, (_, i) => charged(COUNT + i, 1, null, 'acct_c'));

  it.each([
    ['the same messages', overlapping, 1],
    ['the same messages and others', [...more, ...overlapping], 1],
    ['other messages about the same accounts and orders', alike, 2],
  ])('processes batches that two replicas get in opposite order without a deadlock: %s', async (_, others, times) => {
    // Slow inserts, so that the two transactions overlap.
    await database.sql(`
      CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END';
      CREATE TRIGGER dawdle BEFORE INSERT ON processed_messages FOR EACH ROW EXECUTE FUNCTION dawdle();
      CREATE TRIGGER dawdle BEFORE INSERT ON order_payments FOR EACH ROW EXECUTE FUNCTION dawdle();
      CREATE TRIGGER dawdle BEFORE INSERT ON balances FOR EACH ROW EXECUTE FUNCTION dawdle()`);
    await stock();
    for (let i = 0; i < 7; i++) await place(`order_${i}`);
    for (let round = 0; round < 3; round++) {
      const both = consumersOf(service).flatMap((consumer) => [
        deliver(service, consumer, overlapping),
        deliver(replica, consumer, others.toReversed()),
      ]);
      for (const deliveries of await Promise.all(both)) expect(new Set(deliveries)).toEqual(new Set(['processed']));
      const added = await database.sql(
        'SELECT account_id, amount::int FROM balances WHERE account_id = ANY ($1) ORDER BY 1',
        [ACCOUNTS],
      );
      expect(added).toEqual(ACCOUNTS.map((account_id) => ({ account_id, amount: (times * 10 * COUNT) / 2 })));
      if (round < 2) await database.sql('TRUNCATE processed_messages, balances, order_payments');
    }
    expect(await database.sql('SELECT sum(amount)::int AS paid FROM order_payments')).toEqual([
      { paid: times * 10 * COUNT },
    ]);
    await database.sql('DROP FUNCTION dawdle CASCADE');
    // A backend reports its counters at the latest when it ends.
    await database.sql(
      "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'payments'",
    );
    const counted = 'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()';
    expect(await database.sql(counted)).toEqual([{ deadlocks: 0 }]);
  });
});

describe('an attempt at a charge that has been fenced off', () => {
  it('appends no message for an attempt that was fenced off, because its message rolls back with its charge', async () => {
    const sleeper = await startService(database.url, { ...TWO_ACCOUNTS, IDEMPOTENCY_WAIT_MS: '100' });
    const answer = holdAnswer(sleeper);
    const asleep = callUrl(sleeper.url, 'POST', '/charges', { key: 'asleep', body: CHARGE });
    await answer.reached.given;
    // Another attempt has taken over the request and has not finished it.
    await database.sql(
      "UPDATE processed_requests SET lock_token = gen_random_uuid(), locked_until = now() + interval '1 hour'",
    );
    answer.open();
    expect((await asleep).status).toBe(409);
    expect(await effects(database)).toMatchObject({ pending: 1, captures: 1, in_progress: 1 });
    expect(await database.sql('SELECT FROM outbox')).toEqual([]);
    await sleeper.stop();
  });
});

describe('the relays of two replicas', () => {
  it('shares a backlog between the relays of two replicas, and counts each charge once', async () => {
    const count = 1_500;
    await database.sql(
      `INSERT INTO outbox (account_id, id, type, data, created_at, available_at)
       SELECT 'acct_' || (CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END), 'charge.succeeded.ch_' || n, 'charge.succeeded',
              jsonb_build_object('charge_id', 'ch_' || n, 'amount', 1, 'currency', 'eur', 'order_id', 'order_' || n % 9),
              clock_timestamp(), clock_timestamp()
       FROM generate_series(1, $1) AS n`,
      [count],
    );
    const relays = [service, replica, service, replica].map((app) => app.nest.get(Relay));
    await Promise.all(relays.map((relay) => relay.runOnce()));
    await until(async () => {
      await relays[0]?.runOnce();
      return (await database.sql('SELECT FROM outbox WHERE published_at IS NULL')).length === 0;
    });
    expect(await database.sql('SELECT account_id, amount::int FROM balances ORDER BY 1')).toEqual([
      { account_id: 'acct_a', amount: count / 2 },
      { account_id: 'acct_b', amount: count / 2 },
    ]);
    expect(await database.sql('SELECT sum(amount)::int AS paid FROM order_payments')).toEqual([{ paid: count }]);
    expect(await database.sql('SELECT FROM failed_messages')).toEqual([]);
  });
});
