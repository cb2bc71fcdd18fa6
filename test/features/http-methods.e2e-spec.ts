// Goal: prove for every method that a repeated request leaves the database as the first request left it.
// Method: compare every row of every table before a request, after it, and after its repeats. The table of methods is in docs/strategies.md.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Relay } from '../../src/messaging/index.js';
import { call as callUrl, type Call, etagOf, isReplay, TWO_ACCOUNTS } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';

let database: TestDatabase;
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, TWO_ACCOUNTS);
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const call = (method: string, path: string, options?: Call) => callUrl(service.url, method, path, options);

const ADA = { name: 'Ada Lovelace', email: 'ada@example.com', status: 'active' };
const ORDER = { order_id: 'order_1', items: [{ item_id: 'beans', quantity: 2, unit_amount: 1000 }] };
const CHARGE = { amount: 1999, currency: 'eur' };

/** Each request finds one item and one customer, and no orders or charges. */
beforeEach(async () => {
  await reset(database);
  await call('PUT', '/inventory/beans', { body: { stock: 10 } });
  await call('PUT', '/customers/ada', { body: ADA });
});

/** Every row of every table, once all messages are delivered. */
async function state(): Promise<unknown> {
  while ((await service.nest.get(Relay).runOnce()) > 0);
  const tables = await database.sql<{ name: string }>(`
    SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
    WHERE schemaname IN ('public', 'bank') AND tablename <> 'migrations' ORDER BY 1`);
  const rows: Record<string, unknown> = {};
  for (const { name } of tables) rows[name] = await database.sql(`SELECT * FROM ${name} ORDER BY 1, 2`);
  return rows;
}

interface Method {
  /** As in docs/strategies.md. */
  name: string;
  send: () => ReturnType<typeof call>;
  /** Statuses of the first request and of each repeat. */
  statuses: [first: number, repeat: number];
  /** Whether even the first request changes nothing, because the method is safe or the request is refused. */
  changesNothing: boolean;
  /** Whether repeats are marked as replays. */
  replayed?: boolean;
}

const METHODS: Method[] = [
  { name: '`GET`', send: () => call('GET', '/customers/ada'), statuses: [200, 200], changesNothing: true },
  { name: '`GET`', send: () => call('GET', '/charges'), statuses: [200, 200], changesNothing: true },
  { name: '`GET`', send: () => call('GET', '/balance'), statuses: [200, 200], changesNothing: true },
  {
    name: '`PUT /inventory/:item_id`',
    send: () => call('PUT', '/inventory/cups', { body: { stock: 3 } }),
    statuses: [201, 200],
    changesNothing: false,
  },
  {
    name: '`PUT /customers/:id`',
    send: () => call('PUT', '/customers/bob', { body: { ...ADA, name: 'Bob' } }),
    statuses: [201, 200],
    changesNothing: false,
  },
  {
    name: '`PUT /customers/:id` with `If-Match`',
    send: () => call('PUT', '/customers/ada', { ifMatch: '"1"', body: { ...ADA, name: 'Ada King' } }),
    statuses: [200, 412],
    changesNothing: false,
  },
  { name: '`DELETE`', send: () => call('DELETE', '/inventory/beans'), statuses: [204, 204], changesNothing: false },
  { name: '`DELETE`', send: () => call('DELETE', '/customers/ada'), statuses: [204, 204], changesNothing: false },
  {
    name: '`PATCH /customers/:id` without `If-Match`',
    send: () => call('PATCH', '/customers/ada', { body: { name: 'Ada King' } }),
    statuses: [428, 428],
    changesNothing: true,
  },
  {
    name: '`PATCH /customers/:id` with `If-Match`',
    send: () => call('PATCH', '/customers/ada', { ifMatch: '"1"', body: { name: 'Ada King' } }),
    statuses: [200, 412],
    changesNothing: false,
  },
  {
    name: 'the same with `Idempotency-Key`',
    send: () => call('PATCH', '/customers/ada', { key: 'key_1', ifMatch: '"1"', body: { name: 'Ada King' } }),
    statuses: [200, 200],
    changesNothing: false,
    replayed: true,
  },
  {
    name: '`POST /charges` without `Idempotency-Key`',
    send: () => call('POST', '/charges', { body: CHARGE }),
    statuses: [400, 400],
    changesNothing: true,
  },
  {
    name: '`POST /charges` with `Idempotency-Key`',
    send: () => call('POST', '/charges', { key: 'key_1', body: CHARGE }),
    statuses: [200, 200],
    changesNothing: false,
    replayed: true,
  },
  {
    name: '`POST /charges/:id/refunds` with `Idempotency-Key`',
    // A repeat also repeats the charge under its own key.
    send: async () => {
      const charged = await call('POST', '/charges', { key: 'key_1', body: CHARGE });
      const { id } = charged.body as { id: string };
      return call('POST', `/charges/${id}/refunds`, { key: 'key_2', body: { amount: 500 } });
    },
    statuses: [200, 200],
    changesNothing: false,
    replayed: true,
  },
  {
    name: '`POST /orders`',
    send: () => call('POST', '/orders', { body: ORDER }),
    statuses: [200, 200],
    changesNothing: false,
  },
  {
    name: '`POST /orders`',
    send: () => call('POST', '/orders', { key: 'key_1', body: ORDER }),
    statuses: [200, 200],
    changesNothing: false,
    replayed: true,
  },
];

describe('a repeated request', () => {
  it.each(METHODS)('leaves the database as the first request left it: $name, $statuses', async (method) => {
    const before = await state();
    const first = await method.send();
    const after = await state();
    expect(first.status).toBe(method.statuses[0]);
    if (method.changesNothing) expect(after).toEqual(before);
    else expect(after).not.toEqual(before);

    for (let i = 0; i < 3; i++) {
      const repeat = await method.send();
      expect([repeat.status, isReplay(repeat)]).toEqual([method.statuses[1], method.replayed ?? false]);
      if (method.statuses[1] === 200) {
        expect([etagOf(repeat), repeat.text]).toEqual([etagOf(first), first.text]);
      }
    }
    expect(await state()).toEqual(after);
  });

  // Adds to test/spec/double-charge: every method of the API, not only POST /charges, and every row of every table.
  it('leaves the database as one request leaves it when ten repeats are sent at once', async () => {
    for (const { name, send } of METHODS.filter(({ changesNothing }) => !changesNothing)) {
      await reset(database);
      await call('PUT', '/inventory/beans', { body: { stock: 10 } });
      await call('PUT', '/customers/ada', { body: ADA });
      await send();
      const once = await state();
      await Promise.all(Array.from({ length: 10 }, send));
      expect([name, await state()]).toEqual([name, once]);
    }
  });

  it('covers exactly the methods in the table of docs/strategies.md', () => {
    const [, table = ''] = readFileSync('docs/strategies.md', 'utf8').split('## The methods of HTTP');
    const rows = [...table.matchAll(/^\| (.+?) +\| (yes|no) +\| (yes|no) +\|/gm)].map(([, name = '', safe]) => ({
      names: name.split(', '),
      safe: safe === 'yes',
    }));
    expect(rows.flatMap(({ names }) => names).sort()).toEqual([...new Set(METHODS.map(({ name }) => name))].sort());
    // A refused request changes nothing, but that does not make its method safe.
    for (const { names, safe } of rows) expect([names, safe]).toEqual([names, names.includes('`GET`')]);
  });
});
