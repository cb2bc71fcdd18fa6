// Goal: prove that the numbers of an order are compared by value and added exactly.
// Method: send orders as raw JSON, because JavaScript writes every number in one way only.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { JSON_TYPE, send } from '../support/wire.js';

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

/** POST /orders with these texts as the items. */
const order = (...items: string[]) =>
  send(service.url, {
    path: '/orders',
    headers: JSON_TYPE,
    body: `{"order_id": "order_1", "items": [${items.join()}]}`,
  });

describe('the numbers of an order', () => {
  it('places one order when the same numbers are written in five ways', async () => {
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

  it('adds the numbers of the largest order exactly, and refuses larger quantities', async () => {
    await database.sql(
      "INSERT INTO inventory SELECT 'acct_demo', 'item_' || n, 999999999 FROM generate_series(1, 100) n",
    );
    const lines = (quantity: number) =>
      Array.from({ length: 100 }, (_, i) => {
        // One piece fewer of the first item, so that the sum is odd and a rounded double would differ.
        const pieces = i === 0 ? quantity - 1 : quantity;
        return `{"item_id": "item_${i + 1}", "quantity": ${pieces}, "unit_amount": 99999999}`;
      });
    const amount = (quantity: number) => (100n * BigInt(quantity) - 1n) * 99_999_999n;
    // Tries smaller quantities until one is accepted.
    for (let quantity = 1_000_000; ; quantity /= 10) {
      const { status, text } = await order(...lines(quantity));
      if (status === 400) continue;
      expect([status, /"amount":(\d+)/.exec(text)?.[1]]).toEqual([200, String(amount(quantity))]);
      expect(await database.sql('SELECT amount::text FROM orders')).toEqual([{ amount: String(amount(quantity)) }]);
      break;
    }
  });
});
