import { expect } from '@jest/globals';
import type { TestDatabase } from '../support/database.js';
import type { State } from './contract.js';
import { isPaid, type Ledger } from './ledger.js';

/** Holds when the database has what the model has, and no more. */
export async function expectAgreement({ sql }: TestDatabase, state: State): Promise<void> {
  for (const [account, ledger] of Object.entries(state)) {
    const select = (statement: string) => sql(statement, [account]);
    const all = {
      keys: await select(
        'SELECT idempotency_key AS key, completed_at IS NOT NULL AS completed FROM processed_requests WHERE account_id = $1 ORDER BY 1',
      ),
      stock: await select('SELECT item_id, stock FROM inventory WHERE account_id = $1 ORDER BY 1'),
      orders: await select('SELECT order_id, amount::int, status FROM orders WHERE account_id = $1 ORDER BY 1'),
      customers: await select(
        'SELECT id, name, email, status::text FROM customers WHERE account_id = $1 AND deleted_at IS NULL ORDER BY 1',
      ),
      balances: await select('SELECT currency, amount::int FROM balances WHERE account_id = $1 ORDER BY 1'),
    };
    expect({ account, ...all }).toEqual({ account, ...expectedOf(ledger) });

    const charges = await select(
      "SELECT id, status, amount, currency, order_id FROM charges WHERE account_id = $1 AND status <> 'pending'",
    );
    expect(charges).toEqual(expect.arrayContaining([...ledger.charges].map(([id, charge]) => ({ id, ...charge }))));
    expect(charges).toHaveLength(ledger.charges.size + ledger.unseenCharges);
    const unfinished = [...ledger.keys.values()].filter(({ reply }) => !reply);
    expect(await select("SELECT FROM charges WHERE account_id = $1 AND status = 'pending'")).toHaveLength(
      unfinished.length,
    );
    // Money was taken for each charge that succeeded, and for each of which that is not known yet.
    expect(
      await select('SELECT charge_id AS id, amount, currency FROM bank.captures WHERE account_id = $1 ORDER BY 1'),
    ).toEqual(
      await select(
        `SELECT id, amount, currency FROM charges WHERE account_id = $1
           AND (status = 'succeeded' OR status = 'pending' AND source = 'tok_timeout') ORDER BY 1`,
      ),
    );
  }
}

function expectedOf(ledger: Ledger) {
  const { keys, expired, stock, orders, customers, balances } = ledger;
  return {
    keys: sorted([
      ...[...keys].map(([key, { reply }]) => ({ key, completed: reply !== undefined })),
      ...[...expired].map((key) => ({ key, completed: true })),
    ]),
    stock: sorted([...stock].map(([item_id, stock]) => ({ item_id, stock }))),
    orders: sorted(
      [...orders].map(([order_id, order]) => {
        const status = isPaid(ledger, order_id, order) ? 'paid' : 'placed';
        return { order_id, amount: order.amount, status };
      }),
    ),
    customers: sorted([...customers].flatMap(([id, { content }]) => (content ? [{ id, ...content }] : []))),
    balances: sorted([...balances].map(([currency, amount]) => ({ currency, amount }))),
  };
}

/** By their first member, the name. */
const sorted = <Row extends object>(rows: Row[]) =>
  rows.sort((one, other) => (String(Object.values(one)[0]) < String(Object.values(other)[0]) ? -1 : 1));
