import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createDatabase, type TestDatabase } from './support/database.js';
import { startService, type TestService } from './support/service.js';
import { reset } from './support/state.js';
import { JSON_TYPE, send } from './support/wire.js';

let database: TestDatabase;
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url);
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

/** Sends an order as it is written, since JavaScript writes every number in one way. */
const order = (...items: string[]) =>
  send(service.url, {
    path: '/orders',
    headers: JSON_TYPE,
    body: `{"order_id": "order_1", "items": [${items.join()}]}`,
  });

describe('the numbers of an order', () => {
  it('are the same however they are written', async () => {
    await database.sql("INSERT INTO inventory VALUES ('acct_demo', 'beans', 10)");
    const line = (unit_amount: string) => `{"item_id": "beans", "quantity": 2.0, "unit_amount": ${unit_amount}}`;
    const [first, ...others] = await Promise.all(['-0', '-0', '0', '0.0', '-0e1'].map((zero) => order(line(zero))));
    expect([first?.status, JSON.parse(first?.text ?? '')]).toMatchObject([
      200,
      { amount: 0, items: [{ quantity: 2 }] },
    ]);
    for (const { status, text } of others) expect([status, text]).toEqual([200, first?.text]);
    expect(await database.sql('SELECT stock FROM inventory')).toEqual([{ stock: 8 }]);
  });
});
