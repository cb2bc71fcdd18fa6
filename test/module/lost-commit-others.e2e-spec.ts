// Goal: prove what a lost COMMIT means for orders and changes of customers, with an idempotency key and without.
// Method: drop the request or the reply of a COMMIT in a proxy, send the request again, and compare orders, stock and versions.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { call, type Call, isReplay } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { type PostgresProxy, startProxy } from '../../harness/proxy.js';
import { startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { expectProblem } from '../support/wire.js';

let database: TestDatabase;
let proxy: PostgresProxy;
/** Reaches the database through the proxy. */
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  proxy = await startProxy(database.url);
  service = await startService(proxy.url);
});
beforeEach(async () => {
  await reset(database);
  await database.sql("INSERT INTO inventory VALUES ('acct_demo', 'beans', 10)");
  await database.sql(
    "INSERT INTO customers VALUES ('acct_demo', 'ada', 'Ada Lovelace', 'ada@example.com', 'active', 1, NULL)",
  );
});
afterAll(async () => {
  await service?.stop();
  await proxy?.close();
  await database?.drop();
});

const ORDER = { order_id: 'order_1', items: [{ item_id: 'beans', quantity: 2, unit_amount: 1000 }] };
const order = (options?: Call) => call(service.url, 'POST', '/orders', { body: ORDER, ...options });
const patch = (options?: Call) =>
  call(service.url, 'PATCH', '/customers/ada', { ifMatch: '"1"', body: { name: 'Ada King' }, ...options });

const left = async () => {
  const [row] = await database.sql<{ orders: number; stock: number; version: number }>(`
    SELECT (SELECT count(*)::int FROM orders) AS orders, (SELECT stock FROM inventory) AS stock, (SELECT version FROM customers) AS version`);
  return row;
};

describe.each(['drop request', 'drop reply'] as const)('a lost COMMIT (%s)', (fault) => {
  const isCommitted = fault === 'drop reply';

  it('resolves the lost COMMIT of an order with a key by claiming the key again', async () => {
    proxy.failCommit(fault, 0);
    const answer = await order({ key: 'key_1' });
    expect([answer.status, isReplay(answer)]).toEqual([200, false]);
    const again = await order({ key: 'key_1' });
    expect([again.text, isReplay(again)]).toEqual([answer.text, true]);
    expect(await left()).toEqual({ orders: 1, stock: 8, version: 1 });
  });

  it('answers 503 unknown to a lost COMMIT of an order without a key, whose retry finds the order by its natural key', async () => {
    proxy.failCommit(fault, 0);
    const problem = expectProblem(await order(), 503, 'database_unavailable');
    expect(problem).toMatchObject({ outcome: 'unknown', retryable: true });
    expect(await left()).toEqual({ orders: isCommitted ? 1 : 0, stock: isCommitted ? 8 : 10, version: 1 });
    expect((await order()).status).toBe(200);
    expect(await left()).toEqual({ orders: 1, stock: 8, version: 1 });
  });

  it('resolves the lost COMMIT of a change with a key, and does not answer 412 because the change itself has written a new version', async () => {
    proxy.failCommit(fault, 0);
    const answer = await patch({ key: 'key_1' });
    expect([answer.status, isReplay(answer)]).toEqual([200, false]);
    expect(await left()).toMatchObject({ version: 2 });
  });

  it('answers 503 unknown to a lost COMMIT of a change without a key, whose retry gets 412 if the change has written a new version', async () => {
    proxy.failCommit(fault, 0);
    expect(expectProblem(await patch(), 503, 'database_unavailable')['outcome']).toBe('unknown');
    expect((await patch()).status).toBe(isCommitted ? 412 : 200);
    expect(await left()).toMatchObject({ version: 2 });
  });
});

describe('a database that is unavailable', () => {
  it('answers 503 not_started to orders and changes, with a key and without, while the database is unavailable', async () => {
    const gone = await startProxy(database.url);
    const cutOff = await startService(gone.url);
    await gone.close();
    for (const key of [undefined, 'key_1']) {
      for (const [method, path, options] of [
        ['POST', '/orders', { body: ORDER }],
        ['PATCH', '/customers/ada', { ifMatch: '"1"', body: { name: 'Ada King' } }],
      ] as const) {
        const answer = await call(cutOff.url, method, path, { ...options, ...(key && { key }) });
        const problem = expectProblem(answer, 503, 'database_unavailable');
        expect(problem).toMatchObject({ outcome: 'not_started', retryable: true });
      }
    }
    for (const path of ['/orders', '/inventory/beans', '/customers/ada', '/balance', '/dead-letters']) {
      expectProblem(await call(cutOff.url, 'GET', path), 503, 'database_unavailable');
    }
    await cutOff.stop();
    expect(await left()).toEqual({ orders: 0, stock: 10, version: 1 });
  });
});
