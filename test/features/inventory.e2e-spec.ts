// Goal: prove that PUT and DELETE of inventory are idempotent by their method, without a key.
// Method: repeat requests, one by one and at once, and compare the rows.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { call as callUrl, type Call, TWO_ACCOUNTS } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { expectProblem, JSON_TYPE, send } from '../support/wire.js';

let database: TestDatabase;
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, TWO_ACCOUNTS);
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const call = (method: string, path: string, options?: Call) => callUrl(service.url, method, path, options);
const put = (stock: unknown, item = 'beans', options?: Call) =>
  call('PUT', `/inventory/${item}`, { body: { stock }, ...options });
const rows = () => database.sql('SELECT account_id, item_id, stock FROM inventory ORDER BY 1, 2');

describe('PUT /inventory/:item_id', () => {
  it('creates an item with 201', async () => {
    const made = await put(10);
    expect([made.status, made.body]).toEqual([201, { item_id: 'beans', object: 'inventory_item', stock: 10 }]);
    expect(await rows()).toEqual([{ account_id: 'acct_a', item_id: 'beans', stock: 10 }]);
  });

  it('sets the stock of an existing item with 200', async () => {
    await put(10);
    const set = await put(3);
    expect([set.status, set.body]).toEqual([200, { item_id: 'beans', object: 'inventory_item', stock: 3 }]);
    expect((await call('GET', '/inventory/beans')).body).toEqual(set.body);
  });

  it('leaves the same stock when a PUT of an item is sent five more times', async () => {
    await put(10);
    const before = await rows();
    for (let i = 0; i < 5; i++) expect((await put(10)).status).toBe(200);
    expect(await rows()).toEqual(before);
  });

  // Adds to test/spec/double-charge: idempotent without a key, by an upsert.
  it('creates one item when 20 PUTs are sent at once, and answers 201 to one of them', async () => {
    const statuses = (await Promise.all(Array.from({ length: 20 }, () => put(7)))).map(({ status }) => status);
    expect(statuses.sort()).toEqual([...Array<number>(19).fill(200), 201]);
    expect(await rows()).toEqual([{ account_id: 'acct_a', item_id: 'beans', stock: 7 }]);
  });

  it('answers 201 to a PUT of an item that was deleted', async () => {
    await put(10);
    await call('DELETE', '/inventory/beans');
    expect((await put(10)).status).toBe(201);
  });

  it.each([
    ['a negative number', -1],
    ['a fraction', 1.5],
    ['text', '10'],
    ['nothing', undefined],
    ['null', null],
    ['a list', [10]],
    ['more than the largest stock', 1_000_000_000],
  ])('answers 400 to a stock of %s, and changes nothing', async (_, stock) => {
    const problem = expectProblem(await put(stock), 400, 'validation_failed');
    expect(problem['detail']).toMatch(/^stock: expected/);
    expect(await rows()).toEqual([]);
  });

  it('answers 400 to an unknown member of an item', async () => {
    const refused = await call('PUT', '/inventory/beans', { body: { stock: 1, colour: 'red' } });
    expect(expectProblem(refused, 400, 'validation_failed')['detail']).toContain('colour');
  });

  it.each([
    ['with a space', 'two%20words'],
    ['that is too long', 'i'.repeat(256)],
    ['with a slash', 'a%2Fb'],
    ['with U+0000', 'a%00b'],
  ])('answers 400 to an item_id %s', async (_, item) => {
    expect(expectProblem(await put(1, item), 400, 'validation_failed')['detail']).toContain('item_id');
  });

  it('answers 400 to an item_id that looks like a card number, because no order could name it', async () => {
    expectProblem(await put(1, '4242-4242-4242-4242'), 400, 'card_data_refused');
    expect(await rows()).toEqual([]);
    expectProblem(await call('GET', '/inventory/4242424242424242'), 404, 'not_found');
    expect((await call('DELETE', '/inventory/4242424242424242')).status).toBe(204);
  });

  it.each(['CSC-2000', '4006381333023', '1732406954138', 'cid:1234'])(
    'accepts an item_id that resembles card data, and an order that names it: %s',
    async (item) => {
      expect((await put(10, item)).status).toBe(201);
      const items = [{ item_id: item, quantity: 1, unit_amount: 1 }];
      expect((await call('POST', '/orders', { body: { order_id: 'order_1', items } })).status).toBe(200);
    },
  );

  it('refuses a stock that is not valid JSON, has another type, or is too large', async () => {
    const wire = (headers: string[], body: string) =>
      send(service.url, {
        method: 'PUT',
        path: '/inventory/beans',
        headers: ['Authorization', 'Bearer sk_a', ...headers],
        body,
      });
    expectProblem(await wire(JSON_TYPE, '{"stock":'), 400, 'malformed_json');
    expectProblem(await wire(['Content-Type', 'text/plain'], '10'), 415, 'unsupported_media_type');
    expectProblem(await wire(JSON_TYPE, `{"stock":${' '.repeat(300_000)}1}`), 413, 'body_too_large');
  });
});

describe('DELETE /inventory/:item_id', () => {
  it('answers 204 to a deletion of an item and to its repeats', async () => {
    await put(10);
    await put(5, 'cups');
    for (let i = 0; i < 3; i++) {
      const gone = await call('DELETE', '/inventory/beans');
      expect([gone.status, gone.text]).toEqual([204, '']);
    }
    expect(await rows()).toEqual([{ account_id: 'acct_a', item_id: 'cups', stock: 5 }]);
    expectProblem(await call('GET', '/inventory/beans'), 404, 'not_found');
  });

  it('answers 204 to the deletion of an item that never existed', async () => {
    expect((await call('DELETE', '/inventory/nothing')).status).toBe(204);
  });
});

describe('the stock of two accounts', () => {
  it('keeps the stock of two accounts apart', async () => {
    await put(10);
    const theirs = { account: 'acct_b' } as const;
    expectProblem(await call('GET', '/inventory/beans', theirs), 404, 'not_found');
    expect((await put(3, 'beans', theirs)).status).toBe(201);
    expect((await call('DELETE', '/inventory/beans', theirs)).status).toBe(204);
    expect(await rows()).toEqual([{ account_id: 'acct_a', item_id: 'beans', stock: 10 }]);
  });
});
