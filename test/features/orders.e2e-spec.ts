// Goal: prove that an order is placed once under its order_id, takes stock all or nothing, and is paid by the charges that name it.
// Method: send orders to two replicas, one by one, at once and in one commit, and compare orders and stock.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Response } from 'supertest';
import { DataSource } from 'typeorm';
import { inTransaction } from '../../src/postgres/transaction.js';
import { Outbox, Relay } from '../../src/messaging/index.js';
import type { OrderLineInput } from '../../src/orders/dto/order-line.dto.js';
import type { PlaceOrder } from '../../src/orders/dto/place-order.dto.js';
import { placeOrder } from '../../src/orders/orders.phases.js';
import { call as callUrl, type Call, isReplay, statusesOf, TWO_ACCOUNTS } from '../support/client.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { replyOf, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { until } from '../support/waiting.js';
import { expectProblem, JSON_TYPE, send } from '../support/wire.js';

let database: TestDatabase;
let service: TestService;
/** A second replica on the same database. */
let replica: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, TWO_ACCOUNTS);
  replica = await startService(database.url, TWO_ACCOUNTS);
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await replica?.stop();
  await database?.drop();
});

const line = (item_id: string, quantity = 1, unit_amount = 1000): OrderLineInput => ({
  item_id,
  quantity,
  unit_amount,
});
const ORDER = { order_id: 'order_1', items: [line('beans', 2)] };

const call = (method: string, path: string, options?: Call, url = service.url) => callUrl(url, method, path, options);
const order = (body: object = ORDER, options?: Call, url?: string) =>
  call('POST', '/orders', { body, ...options }, url);
const numbered = (i: number, ...items: OrderLineInput[]) => ({ order_id: `order_${i}`, items });
const times = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));

/** Inserts the stock of an account without the API, because only orders are tested here. */
const stock = (stocks: Record<string, number>, account = 'acct_a') =>
  Promise.all(
    Object.entries(stocks).map(([item, count]) =>
      database.sql('INSERT INTO inventory VALUES ($1, $2, $3)', [account, item, count]),
    ),
  );
const stockLeft = async (account = 'acct_a') =>
  Object.fromEntries(
    (
      await database.sql<{ item_id: string; stock: number }>(
        'SELECT item_id, stock FROM inventory WHERE account_id = $1',
        [account],
      )
    ).map(({ item_id, stock }) => [item_id, stock]),
  );
const orders = () => database.sql<Record<string, unknown>>('SELECT * FROM orders ORDER BY account_id, order_id');
const codeOf = ({ body }: Response) => (body as { code?: string }).code;

describe('POST /orders', () => {
  it('places an order and takes its stock', async () => {
    await stock({ beans: 10, cups: 5 });
    const items = [line('beans', 2, 1000), line('cups', 3, 50)];
    const placed = await order({ order_id: 'order_1', items, currency: 'USD', customer_id: 'ada' });
    expect(placed.status).toBe(200);
    expect(placed.body).toEqual({
      order_id: 'order_1',
      object: 'order',
      status: 'placed',
      amount: 2150,
      currency: 'usd',
      customer_id: 'ada',
      items,
      created_at: expect.stringMatching(/Z$/),
      paid_at: null,
    });
    expect(await stockLeft()).toEqual({ beans: 8, cups: 2 });
  });

  it('returns the existing order when the order is sent again, and takes no more stock', async () => {
    await stock({ beans: 10 });
    const first = await order();
    const before = await orders();
    for (const { url } of [service, replica, service]) {
      const again = await order(ORDER, {}, url);
      expect([again.status, again.text, isReplay(again)]).toEqual([200, first.text, false]);
    }
    expect([await orders(), await stockLeft()]).toEqual([before, { beans: 8 }]);
  });

  it('returns the existing order when the members are in another order or a default is written out', async () => {
    await stock({ beans: 10 });
    const first = await order();
    const again = await order({
      items: [{ unit_amount: 1000, quantity: 2, item_id: 'beans' }],
      currency: 'EUR',
      order_id: 'order_1',
    });
    expect([again.status, again.text]).toEqual([200, first.text]);
  });

  it.each([
    ['another quantity', { items: [line('beans', 1)] }],
    ['another price', { items: [line('beans', 2, 999)] }],
    ['another item', { items: [line('cups', 2)] }],
    ['one more item', { items: [line('beans', 2), line('cups')] }],
    ['another currency', { currency: 'usd' }],
    ['a customer', { customer_id: 'ada' }],
  ])('answers 422 to a used order_id with other content, and changes nothing: %s', async (_, other) => {
    await stock({ beans: 10, cups: 10 });
    await order();
    const before = await orders();
    const problem = expectProblem(await order({ ...ORDER, ...other }), 422, 'order_id_reused');
    expect(problem).toMatchObject({ outcome: 'final', retryable: false });
    expect([await orders(), await stockLeft()]).toEqual([before, { beans: 8, cups: 10 }]);
  });

  it('takes no item of an order when one item is short of stock, and names the items that are short', async () => {
    await stock({ beans: 10, cups: 1 });
    const body = { order_id: 'order_1', items: [line('beans', 2), line('cups', 3), line('spoons')] };
    const problem = expectProblem(await order(body), 409, 'insufficient_stock');
    // Without a key nothing is recorded, so the next attempt depends on the stock at that time.
    expect(problem['outcome']).toBe('not_started');
    expect(problem['items']).toEqual([
      { item_id: 'cups', requested: 3, available: 1 },
      { item_id: 'spoons', requested: 1, available: 0 },
    ]);
    expect([await orders(), await stockLeft()]).toEqual([[], { beans: 10, cups: 1 }]);
  });

  it('places a refused order that is sent again without a key once there is stock', async () => {
    expect((await order()).status).toBe(409);
    await stock({ beans: 2 });
    expect((await order()).status).toBe(200);
    expect(await stockLeft()).toEqual({ beans: 0 });
  });
});

describe('concurrent orders', () => {
  // Adds to test/spec/double-charge: no idempotency key, because the natural key order_id makes the order unique.
  it('places one order when 40 requests with one order_id reach two replicas at once, and returns it to all', async () => {
    await stock({ beans: 10 });
    const answers = await Promise.all(times(40, (i) => order(ORDER, {}, (i % 2 ? service : replica).url)));
    expect(statusesOf(answers)).toEqual({ 200: 40 });
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect([(await orders()).length, await stockLeft()]).toEqual([1, { beans: 8 }]);
  });

  it('places one order when concurrent requests with one order_id differ, and answers 422 to the different ones', async () => {
    await stock({ beans: 100 });
    const answers = await Promise.all(
      times(20, (i) =>
        order({ order_id: 'order_1', items: [line('beans', 1 + (i % 4))] }, {}, (i % 2 ? service : replica).url),
      ),
    );
    expect(statusesOf(answers)).toEqual({ 200: 5, 422: 15 });
    const [only] = await orders();
    const taken = (only?.['items'] as OrderLineInput[])[0]?.quantity ?? 0;
    expect(await stockLeft()).toEqual({ beans: 100 - taken });
  });

  it.each([
    ['without keys', () => undefined],
    ['each with a key', (i: number) => `key_${i}`],
  ])('sells each of ten pieces once to 30 concurrent orders, %s', async (_, keyOf) => {
    await stock({ beans: 10 });
    const answers = await Promise.all(
      times(30, (i) => {
        const key = keyOf(i);
        return order(numbered(i, line('beans')), key ? { key } : {}, (i % 2 ? service : replica).url);
      }),
    );
    expect(statusesOf(answers)).toEqual({ 200: 10, 409: 20 });
    expect(answers.filter(({ status }) => status === 409).map(codeOf)).toEqual(Array(20).fill('insufficient_stock'));
    expect([(await orders()).length, await stockLeft()]).toEqual([10, { beans: 0 }]);
  });

  it('places concurrent orders that list the same items in different order without a deadlock', async () => {
    await stock({ beans: 1000, cups: 1000, spoons: 1000 });
    const shuffled = (i: number) => {
      const items = [line('beans'), line('cups'), line('spoons')];
      return i % 3 === 0 ? items : i % 3 === 1 ? items.reverse() : [items[1], items[2], items[0]];
    };
    const answers = await Promise.all(
      times(60, (i) => order({ order_id: `order_${i}`, items: shuffled(i) }, {}, (i % 2 ? service : replica).url)),
    );
    expect(statusesOf(answers)).toEqual({ 200: 60 });
    expect(await stockLeft()).toEqual({ beans: 940, cups: 940, spoons: 940 });
    const [{ deadlocks } = { deadlocks: '' }] = await database.sql<{ deadlocks: string }>(
      'SELECT deadlocks::text FROM pg_stat_database WHERE datname = current_database()',
    );
    expect(deadlocks).toBe('0');
  });

  it('makes an order wait for a transaction that is placing the same order_id, and then follow its result', async () => {
    await stock({ beans: 10 });
    const elsewhere = await connect(database.url);
    const insert = `INSERT INTO orders (account_id, order_id, status, amount, currency, items, created_at)
                    VALUES ('acct_a', $1, 'placed', 1, 'eur', '[]', now())`;
    for (const [order_id, end, status] of [
      ['order_1', 'COMMIT', 422],
      ['order_2', 'ROLLBACK', 200],
    ] as const) {
      await elsewhere.query('BEGIN');
      await elsewhere.query(insert, [order_id]);
      const answer = order({ ...ORDER, order_id });
      await until(async () => (await lockWaiters(database)) === 1);
      await elsewhere.query(end);
      expect((await answer).status).toBe(status);
    }
    await elsewhere.end();
    expect(await stockLeft()).toEqual({ beans: 8 });
  });
});

describe('orders in one commit', () => {
  const inOneCommit = (...inputs: PlaceOrder[]) =>
    inTransaction(service.nest.get(DataSource), async ({ manager }) => {
      const items = inputs.map((input, i) => ({ accountId: 'acct_a', requestId: String(i), isRecorded: false, input }));
      return (await placeOrder(manager, items)).map(({ status }) => status);
    });

  it('gives the last pieces to the orders of one commit in their sequence, each all or nothing', async () => {
    await stock({ beans: 3, cups: 1 });
    const statuses = await inOneCommit(
      numbered(1, line('beans', 2)),
      numbered(2, line('beans', 2)),
      numbered(3, line('cups'), line('beans', 2)),
      numbered(4, line('cups'), line('beans')),
    );
    expect(statuses).toEqual([200, 409, 409, 200]);
    expect([(await orders()).map((row) => row['order_id']), await stockLeft()]).toEqual([
      ['order_1', 'order_4'],
      { beans: 0, cups: 0 },
    ]);
  });

  it('places one order for one order_id in a commit: 200 for the same content, 422 for other content', async () => {
    await stock({ beans: 10 });
    expect(await inOneCommit(ORDER, ORDER, { ...ORDER, currency: 'usd' }, ORDER)).toEqual([200, 200, 422, 200]);
    expect([(await orders()).length, await stockLeft()]).toEqual([1, { beans: 8 }]);
  });

  it('treats different orders with one order_id in a commit in sequence, as if each were alone, without an error', async () => {
    const small = { ...ORDER, items: [line('beans')] };
    await stock({ beans: 1 });
    expect(await inOneCommit(ORDER, ORDER)).toEqual([409, 409]);
    expect([await orders(), await stockLeft()]).toEqual([[], { beans: 1 }]);

    expect(await inOneCommit(ORDER, small, ORDER, { ...ORDER, order_id: 'order_2' }, small)).toEqual([
      409, 200, 422, 409, 200,
    ]);
    expect(await orders()).toMatchObject([{ order_id: 'order_1', items: small.items }]);
    expect(await stockLeft()).toEqual({ beans: 0 });
  });

  it('answers 409 to every order with one order_id in a commit that lacks stock, and stores none of them', async () => {
    await stock({ beans: 1 });
    const inputs = times(20, (i) => ({ ...ORDER, items: [line('beans', 2 + i)] }));
    expect(await inOneCommit(...inputs)).toEqual(times(20, () => 409));
    expect([await orders(), await stockLeft()]).toEqual([[], { beans: 1 }]);
  });

  it('places one order when different orders with one order_id arrive as requests with keys', async () => {
    await stock({ beans: 1 });
    const answers = await Promise.all(
      times(20, (i) => order({ order_id: 'order_1', items: [line('beans', 1 + (i % 2))] }, { key: `key_${i}` })),
    );
    for (const { status } of answers) expect([200, 409, 422]).toContain(status);
    expect([(await orders()).length, await stockLeft()]).toEqual([1, { beans: 0 }]);
  });
});

describe('POST /orders with an Idempotency-Key', () => {
  it('replays the first reply to an order with a key even after the order has been paid', async () => {
    await stock({ beans: 10 });
    const first = await order(ORDER, { key: 'key_1' });
    await database.sql("UPDATE orders SET status = 'paid', paid_at = now()");
    const again = await order(ORDER, { key: 'key_1' });
    expect([isReplay(first), isReplay(again), replyOf(again)]).toEqual([false, true, replyOf(first)]);
    expect((await order()).body).toMatchObject({ status: 'paid' });
  });

  it('replays the refusal of an order with a key even after stock has arrived', async () => {
    const refused = await order(ORDER, { key: 'key_1' });
    expect(expectProblem(refused, 409, 'insufficient_stock')['outcome']).toBe('final');
    await stock({ beans: 10 });
    const again = await order(ORDER, { key: 'key_1' });
    expect([refused.status, replyOf(again), isReplay(again)]).toEqual([409, replyOf(refused), true]);
    expect((await order(ORDER, { key: 'key_2' })).status).toBe(200);
  });

  it('answers 422 to a used key with another order, and to a used order_id with another key and other content', async () => {
    await stock({ beans: 10 });
    await order(ORDER, { key: 'key_1' });
    expectProblem(await order({ ...ORDER, order_id: 'order_2' }, { key: 'key_1' }), 422, 'idempotency_key_reused');
    expectProblem(await order({ ...ORDER, currency: 'usd' }, { key: 'key_2' }), 422, 'order_id_reused');
    expect((await order(ORDER, { key: 'key_3' })).status).toBe(200);
    expect(await stockLeft()).toEqual({ beans: 8 });
  });

  it('returns the existing order after its idempotency key has expired', async () => {
    await stock({ beans: 10 });
    const first = await order(ORDER, { key: 'key_1' });
    await database.sql("UPDATE processed_requests SET created_at = now() - interval '25 hours'");
    const later = await order(ORDER, { key: 'key_1' });
    expect([later.status, later.text, isReplay(later)]).toEqual([200, first.text, false]);
    expect(await stockLeft()).toEqual({ beans: 8 });
  });

  it('commits order, stock and reply together, or none of them, when the reply cannot be recorded', async () => {
    await stock({ beans: 10 });
    await database.sql(`
      ALTER TABLE processed_requests ADD CONSTRAINT refuses CHECK (response_status IS NULL) NOT VALID`);
    try {
      expect((await order(ORDER, { key: 'key_1' })).status).toBe(500);
      expect([await orders(), await stockLeft()]).toEqual([[], { beans: 10 }]);
    } finally {
      await database.sql('ALTER TABLE processed_requests DROP CONSTRAINT refuses');
    }
    expect((await order(ORDER, { key: 'key_1' })).status).toBe(200);
    expect(await stockLeft()).toEqual({ beans: 8 });
  });

  // Adds to test/spec/double-charge: an operation of one commit whose effect is in our own database.
  it('places one order when 30 requests with one key reach two replicas at once', async () => {
    await stock({ beans: 10 });
    const answers = await Promise.all(
      times(30, (i) => order(ORDER, { key: 'key_1' }, (i % 2 ? service : replica).url)),
    );
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers.filter((answer) => !isReplay(answer))).toHaveLength(1);
    expect(await stockLeft()).toEqual({ beans: 8 });
  });

  it.each([['two words'], ['']])('answers 400 to an order with a key that is not valid: "%s"', async (key) => {
    expectProblem(await order(ORDER, { key }), 400, 'idempotency_key_invalid');
    expect(await orders()).toEqual([]);
  });
});

describe('the payment of an order', () => {
  const pay = (amount: number, options: { key: string; currency?: string; account?: Call['account'] }) =>
    call('POST', '/charges', {
      key: options.key,
      ...(options.account && { account: options.account }),
      body: { amount, currency: options.currency ?? 'eur', order_id: 'order_1' },
    });
  const deliver = async () => {
    while ((await service.nest.get(Relay).runOnce()) > 0);
  };
  const status = async () => ((await call('GET', '/orders/order_1')).body as { status: string }).status;

  beforeEach(() => stock({ beans: 10 }));

  it('marks an order as paid once a charge that names the order covers its amount', async () => {
    await order();
    expect(await status()).toBe('placed');
    await pay(2000, { key: 'charge_1' });
    await deliver();
    const paid = await call('GET', '/orders/order_1');
    expect(paid.body).toMatchObject({ status: 'paid', paid_at: expect.stringMatching(/Z$/) });
  });

  it('marks an order as paid when its payment was delivered before the order was placed', async () => {
    await pay(2000, { key: 'charge_1' });
    await deliver();
    expect((await order()).body).toMatchObject({ status: 'paid' });
  });

  it('marks an order as paid when order and payment are committed at the same time', async () => {
    for (let i = 0; i < 10; i++) {
      await reset(database);
      await stock({ beans: 10 });
      await pay(2000, { key: `charge_${i}` });
      await Promise.all([order(), deliver()]);
      expect(await status()).toBe('paid');
    }
  });

  it('marks an order as paid once several charges together cover its amount, and not earlier', async () => {
    await order();
    await pay(1500, { key: 'charge_1' });
    await deliver();
    expect(await status()).toBe('placed');
    await pay(500, { key: 'charge_2' });
    await deliver();
    expect(await status()).toBe('paid');
  });

  it('does not change a paid order when another charge names it', async () => {
    await order();
    for (const [i, amount] of [2000, 1].entries()) {
      const before = await orders();
      await pay(amount, { key: `charge_${i}` });
      await deliver();
      if (i > 0) expect(await orders()).toEqual(before);
    }
  });

  it.each([
    ['in another currency', { key: 'charge_1', currency: 'usd' }],
    ['of another account', { key: 'charge_1', account: 'acct_b' as const }],
  ])('does not mark an order as paid by charges %s', async (_, options) => {
    await pay(2000, options);
    await deliver();
    await order();
    expect(await status()).toBe('placed');
    await pay(2000, { ...options, key: 'charge_2' });
    await pay(1999, { key: 'charge_3' });
    await deliver();
    expect(await status()).toBe('placed');
  });

  it('counts a charge for its order once, although it is sent again and delivered again', async () => {
    await order();
    await pay(1000, { key: 'charge_1' });
    await pay(1000, { key: 'charge_1' });
    // A fresh message would be deleted by its first delivery.
    expect(await service.nest.get(Outbox).releaseFresh(10)).toBe(1);
    await deliver();
    await database.sql('UPDATE outbox SET published_at = NULL');
    await deliver();
    expect(await status()).toBe('placed');
  });
});

describe('GET /orders', () => {
  it('ends a page of large orders before its limit, and lists each order once', async () => {
    // Nine such orders have 256 KiB, the largest page.
    const items = Array.from({ length: 100 }, (_, i) => line(`${i}`.padStart(255, 'x')));
    await stock(Object.fromEntries(items.map(({ item_id }) => [item_id, 100])));
    for (let i = 0; i < 10; i++) expect((await order(numbered(i, ...items))).status).toBe(200);
    const page = async (query: string) => {
      const { data, has_more } = (await call('GET', `/orders?limit=100${query}`)).body as {
        data: { order_id: string }[];
        has_more: boolean;
      };
      return [data.map(({ order_id }) => order_id), has_more];
    };
    expect(await page('')).toEqual([[9, 8, 7, 6, 5, 4, 3, 2, 1].map((i) => `order_${i}`), true]);
    expect(await page('&starting_after=order_1')).toEqual([['order_0'], false]);
  });

  it('lists orders in pages, newest first, and shows a single order', async () => {
    await stock({ beans: 10 });
    for (let i = 0; i < 5; i++) await order(numbered(i, line('beans')));
    const page = async (query: string) => {
      const { data, has_more } = (await call('GET', `/orders${query}`)).body as {
        data: { order_id: string }[];
        has_more: boolean;
      };
      return [data.map(({ order_id }) => order_id), has_more];
    };
    for (let i = 0; i < 2; i++) {
      expect(await page('')).toEqual([['order_4', 'order_3', 'order_2', 'order_1', 'order_0'], false]);
      expect(await page('?limit=2')).toEqual([['order_4', 'order_3'], true]);
      expect(await page('?limit=2&starting_after=order_3')).toEqual([['order_2', 'order_1'], true]);
      expect(await page('?limit=2&starting_after=order_1')).toEqual([['order_0'], false]);
      // In the second round all orders have the same time, so order_id decides the sequence.
      await database.sql('UPDATE orders SET created_at = clock.now FROM (SELECT now()) AS clock');
    }
    expect(await page('?starting_after=order_0')).toEqual([[], false]);
    expect((await call('GET', '/orders/order_2')).body).toMatchObject({ order_id: 'order_2' });
    expectProblem(await call('GET', '/orders/order_9'), 404, 'not_found');
    for (const query of ['?limit=0', '?limit=101', '?limit=x', '?starting_after=a%20b', '?colour=red']) {
      expectProblem(await call('GET', `/orders${query}`), 400, 'validation_failed');
    }
  });
});

describe('GET /orders with an unknown starting_after', () => {
  it.each(['order_9', 'order_of_b'])(
    'answers 404 to a starting_after that is not an order of the account, because an empty page would end the list: %s',
    async (id) => {
      await stock({ beans: 10 });
      await stock({ beans: 10 }, 'acct_b');
      await order(ORDER);
      await order({ ...ORDER, order_id: 'order_of_b' }, { account: 'acct_b' });
      const problem = expectProblem(await call('GET', `/orders?starting_after=${id}`), 404, 'not_found');
      expect(problem['detail']).toMatch(/starting_after/);
    },
  );
});

describe('the orders of two accounts', () => {
  it('keeps the orders, stock and keys of two accounts apart', async () => {
    await stock({ beans: 10 });
    await stock({ beans: 1 }, 'acct_b');
    const theirs = { account: 'acct_b' } as const;
    expect((await order(ORDER, { key: 'key_1' })).status).toBe(200);
    expectProblem(await order(ORDER, { ...theirs, key: 'key_1' }), 409, 'insufficient_stock');
    expect((await order({ ...ORDER, items: [line('beans')] }, theirs)).status).toBe(200);
    expect((await call('GET', '/orders/order_1', theirs)).body).toMatchObject({ amount: 1000 });
    expect((await call('GET', '/orders', theirs)).body).toMatchObject({ data: [{ amount: 1000 }] });
    expect([await stockLeft(), await stockLeft('acct_b')]).toEqual([{ beans: 8 }, { beans: 0 }]);
  });
});

describe('a member of POST /orders', () => {
  it.each(
    (
      [
        ['order_id', { order_id: '' }],
        ['order_id', { order_id: 'two words' }],
        ['order_id', { order_id: 'o'.repeat(256) }],
        ['order_id', { order_id: 12345 }],
        ['order_id', { order_id: undefined }],
        ['items', { items: [] }],
        ['items', { items: undefined }],
        ['items', { items: { item_id: 'beans' } }],
        ['items', { items: [line('beans'), line('beans')] }],
        ['items', { items: times(101, (i) => line(`item_${i}`)) }],
        ['items.0.item_id', { items: [line('a b')] }],
        ['items.1.quantity', { items: [line('beans'), line('cups', 0)] }],
        ['items.0.quantity', { items: [line('beans', 1.5)] }],
        ['items.0.quantity', { items: [line('beans', 100_001)] }],
        ['items.0.unit_amount', { items: [line('beans', 1, -1)] }],
        ['items.0.unit_amount', { items: [line('beans', 1, 100_000_000)] }],
        ['items.0.colour', { items: [{ ...line('beans'), colour: 'red' }] }],
        ['currency', { currency: 'euro' }],
        ['currency', { currency: 'u\u017fd' }],
        ['currency', { currency: '\u0131dr' }],
        ['currency', { currency: '\u00dfp' }],
        ['currency', { currency: 978 }],
        ['customer_id', { customer_id: 'a b' }],
        ['status', { status: 'paid' }],
      ] as [string, object][]
    ).map(([member, change]) => [member, JSON.stringify(change).slice(0, 60), change] as const),
  )('answers 400 and names the member %s of the order in %s', async (member, _, change) => {
    await stock({ beans: 10, cups: 10 });
    const problem = expectProblem(await order({ ...ORDER, ...change }), 400, 'validation_failed');
    const fields = (problem['errors'] as { field: string }[]).map(({ field }) => field);
    expect(fields).toEqual([member]);
    expect(await orders()).toEqual([]);
  });

  it.each([['items: null'], ['items: [null]'], ['items: ["beans"]'], ['items: [[]]']])(
    'answers 400 to an order whose items are not a list of objects: %s',
    async (text) => {
      const body = `{"order_id": "order_1", ${text.replace('items', '"items"')}}`;
      const headers = [...JSON_TYPE, 'Authorization', 'Bearer sk_a'];
      const problem = expectProblem(
        await send(service.url, { path: '/orders', headers, body }),
        400,
        'validation_failed',
      );
      expect(problem['detail']).toMatch(/^items: expected/);
    },
  );

  it('answers 400 to an order with a card number in any member', async () => {
    for (const change of [{ customer_id: '4242424242424242' }, { order_id: '4242-4242-4242-4242' }]) {
      expectProblem(await order({ ...ORDER, ...change }), 400, 'card_data_refused');
    }
  });

  it('leaves the key of an order unused when validation refuses the order', async () => {
    await stock({ beans: 10 });
    expect((await order({ ...ORDER, items: [] }, { key: 'key_1' })).status).toBe(400);
    expect((await order(ORDER, { key: 'key_1' })).status).toBe(200);
  });
});
