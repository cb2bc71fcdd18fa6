// Goal: prove that all groups and deliveries lock rows in the same order, so that two of them cannot deadlock.
// Method: run two transactions concurrently with the same rows in opposite order. Triggers slow both, and no transaction is retried, so a
// deadlock fails the test.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { earningsConsumer } from '../../src/balance/earnings.consumer.js';
import { changeCustomer } from '../../src/customers/customers.phases.js';
import { fingerprintOf } from '../../src/idempotency/http/fingerprint.js';
import type { Unit } from '../../src/idempotency/commit/unit.js';
import { commitTogether } from '../../src/idempotency/commit/group.js';
import { GroupStore } from '../../src/idempotency/commit/group.store.js';
import type { Phase, PhaseItem, Reply } from '../../src/idempotency/index.js';
import { inTransaction } from '../../src/postgres/transaction.js';
import { RequestIdentity } from '../../src/idempotency/request/request-identity.js';
import type { Message } from '../../src/messaging/index.js';
import { placeOrder } from '../../src/orders/orders.phases.js';
import { paymentsConsumer } from '../../src/orders/payments.consumer.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';

let database: TestDatabase;
let service: TestService;
let replica: TestService;

beforeAll(async () => {
  database = await createDatabase();
  [service, replica] = [await startService(database.url), await startService(database.url)];
  // Each trigger sleeps for 2 ms when its row is locked, so that the two transactions overlap.
  await database.sql(`
    CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END';
    CREATE TRIGGER dawdle BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION dawdle();
    CREATE TRIGGER dawdle BEFORE UPDATE ON inventory FOR EACH ROW EXECUTE FUNCTION dawdle();
    CREATE TRIGGER dawdle BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION dawdle();
    CREATE TRIGGER dawdle BEFORE INSERT ON balances FOR EACH ROW EXECUTE FUNCTION dawdle();
    CREATE TRIGGER dawdle BEFORE INSERT ON order_payments FOR EACH ROW EXECUTE FUNCTION dawdle()`);
});
beforeEach(async () => {
  await reset(database);
  await database.sql(`
    INSERT INTO customers SELECT 'acct_demo', 'customer_' || n, 'Ada', 'ada@example.com', 'active', 1 FROM generate_series(0, 39) n`);
  await database.sql("INSERT INTO inventory SELECT 'acct_demo', 'item_' || n, 100 FROM generate_series(0, 39) n");
});
afterAll(async () => {
  await service?.stop();
  await replica?.stop();
  await database?.drop();
});

const COUNT = 40;
const changed = (i: number) => ({ id: `customer_${i}`, versions: [1], content: { name: 'Ada King' } });
const ordered = (i: number) => ({
  order_id: `order_${i}`,
  items: [{ item_id: `item_${i}`, quantity: 1, unit_amount: 1 }],
});
const itemsOf = <Input>(input: (i: number) => Input): PhaseItem<Input>[] =>
  Array.from({ length: COUNT }, (_, i) => ({
    accountId: 'acct_demo',
    requestId: randomUUID(),
    isRecorded: false,
    input: input(i),
  }));

/** Runs a phase and returns the statuses of its replies. The transaction gets one attempt, so a deadlock fails the test. */
const run = <Input>(app: TestService, phase: Phase<Input, Reply>, items: readonly PhaseItem<Input>[]) =>
  inTransaction(
    app.nest.get(DataSource),
    async ({ manager }) => {
      return (await phase(manager, items)).map(({ status }) => status);
    },
    { attempts: 1 },
  );

describe('two concurrent groups with the same rows in opposite order', () => {
  it('commits two concurrent groups of changes of customers without a deadlock', async () => {
    const items = itemsOf(changed);
    const both = await Promise.all([
      run(service, changeCustomer, items),
      run(replica, changeCustomer, items.toReversed()),
    ]);
    expect(both.map((statuses) => statuses[0]).sort()).toEqual([200, 412]);
    for (const statuses of both) expect(statuses).toEqual(Array(COUNT).fill(statuses[0]));
  });

  it('commits two concurrent groups of orders without a deadlock', async () => {
    const items = itemsOf(ordered);
    const both = await Promise.all([run(service, placeOrder, items), run(replica, placeOrder, items.toReversed())]);
    expect(both.flat()).toEqual(Array(2 * COUNT).fill(200));
    expect(await database.sql('SELECT DISTINCT stock FROM inventory')).toEqual([{ stock: 99 }]);
  });

  it('commits two concurrent groups of changes and orders without a deadlock', async () => {
    const unit = (key: string, operation: string, phase: Phase<never, Reply>, input: unknown): Unit => ({
      kind: 'claim-and-complete',
      identity: new RequestIdentity('acct_demo', key, operation, fingerprintOf(key)),
      isInDoubt: false,
      lockToken: randomUUID(),
      newRequestId: randomUUID(),
      phase,
      input,
    });
    /** Commits a group of orders and changes, sorted by key as `GroupCommit` sorts a group. `isReversed` puts the changes first. */
    const group = (app: TestService, name: string, isReversed: boolean) => {
      const [orders, changes] = isReversed ? ['b', 'a'] : ['a', 'b'];
      const units = Array.from({ length: COUNT / 2 }, (_, i) => [
        unit(`${orders}_${name}_${i}`, 'POST /orders', placeOrder, { ...ordered(i), order_id: `${name}_${i}` }),
        unit(`${changes}_${name}_${i}`, 'PATCH /customers/:id', changeCustomer, changed(i)),
      ]).flat();
      const sorted = units.sort((one, other) => (one.identity.key < other.identity.key ? -1 : 1));
      return commitTogether(app.nest.get(DataSource), app.nest.get(GroupStore), sorted);
    };
    const both = await Promise.all([group(service, 'one', false), group(replica, 'other', true)]);
    expect(both.flat().map(({ kind }) => kind)).toEqual(Array(2 * COUNT).fill('recorded'));
    expect(await database.sql('SELECT sum(stock)::int AS stock FROM inventory')).toEqual([{ stock: 4000 - COUNT }]);
    expect(await database.sql('SELECT sum(version)::int AS versions FROM customers')).toEqual([
      { versions: COUNT + COUNT / 2 },
    ]);
  });
});

describe('two concurrent deliveries about the same accounts', () => {
  // Enough rows that PostgreSQL aggregates the two deliveries in hash tables of different sizes. Without a lock order, these hash tables would
  // return the shared rows in different orders.
  const SHARED = 120;
  const charged = (i: number, round: number): Message => ({
    accountId: `acct_${round}_${i}`,
    id: `charge.succeeded.${randomUUID()}`,
    type: 'charge.succeeded',
    data: { charge_id: `ch_${i}`, amount: 1, currency: 'eur', order_id: 'order_1' },
    createdAt: new Date(),
  });
  // If both hash tables begin with the same account, one delivery waits from the start and a deadlock is impossible. The hash
  // values of the accounts decide which account is first, so each round uses different accounts.
  const ROUNDS = 6;

  it.each([
    { consumer: earningsConsumer, table: 'balances' },
    { consumer: paymentsConsumer, table: 'order_payments' },
  ])(
    'commits two concurrent deliveries that share accounts without a deadlock, in the table $table',
    async ({ consumer, table }) => {
      const handle = (app: TestService, count: number, round: number) =>
        inTransaction(
          app.nest.get(DataSource),
          async ({ manager }) => {
            const messages = Array.from({ length: count }, (_, i) => charged(i, round));
            await consumer.handle(manager, messages);
          },
          { attempts: 1 },
        );
      for (let round = 0; round < ROUNDS; round++) {
        await Promise.all([handle(service, SHARED, round), handle(replica, 2 * SHARED, round)]);
      }
      expect(await database.sql(`SELECT sum(amount)::int AS sum FROM ${table}`)).toEqual([
        { sum: ROUNDS * 3 * SHARED },
      ]);
    },
  );
});
