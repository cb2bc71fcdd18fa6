import { expect } from '@jest/globals';
import type { Account } from '../support/client.js';
import type { TestDatabase } from '../support/database.js';
import { narrow, type State } from './contract.js';
import { isPaid, type Ledger } from './ledger.js';

/** Expects that the database agrees with one of the possible states, and contains nothing else. */
export async function expectAgreement(database: TestDatabase, possible: readonly State[]): Promise<void> {
  const [a, b] = [await rowsOf(database, 'acct_a'), await rowsOf(database, 'acct_b')];
  narrow(possible, ({ acct_a, acct_b }) => {
    compare(a, acct_a);
    compare(b, acct_b);
  });
}

type Rows = Awaited<ReturnType<typeof rowsOf>>;

async function rowsOf({ sql }: TestDatabase, account: Account) {
  const select = (statement: string) => sql(statement, [account]);
  return {
    facts: {
      keys: await select(
        'SELECT idempotency_key AS key, completed_at IS NOT NULL AS completed FROM processed_requests WHERE account_id = $1 ORDER BY 1',
      ),
      stock: await select('SELECT item_id, stock FROM inventory WHERE account_id = $1 ORDER BY 1'),
      orders: await select('SELECT order_id, amount::int, status FROM orders WHERE account_id = $1 ORDER BY 1'),
      customers: await select(
        'SELECT id, name, email, status::text FROM customers WHERE account_id = $1 AND deleted_at IS NULL ORDER BY 1',
      ),
      balances: await select('SELECT currency, amount::int FROM balances WHERE account_id = $1 ORDER BY 1'),
    },
    settled: await select(
      "SELECT id, status, amount, currency, order_id FROM charges WHERE account_id = $1 AND status <> 'pending'",
    ),
    refunds: await select(
      "SELECT id, charge_id, amount, currency FROM refunds WHERE account_id = $1 AND status = 'succeeded'",
    ),
    openRefunds: await select(
      'SELECT charge_id AS "chargeId", amount, currency FROM refunds WHERE account_id = $1 AND status = \'pending\' ORDER BY 1, 2',
    ),
    paidBack: await select(
      'SELECT idempotency_key AS id, charge_id, amount, currency FROM bank.refunds WHERE account_id = $1 ORDER BY 1',
    ),
    toBePaidBack: await select('SELECT id, charge_id, amount, currency FROM refunds WHERE account_id = $1 ORDER BY 1'),
    pending: await select("SELECT FROM charges WHERE account_id = $1 AND status = 'pending'"),
    captured: await select(
      'SELECT charge_id AS id, amount, currency FROM bank.captures WHERE account_id = $1 ORDER BY 1',
    ),
    toBeCaptured: await select(
      `SELECT id, amount, currency FROM charges WHERE account_id = $1
         AND (status = 'succeeded' OR status = 'pending' AND source = 'tok_timeout') ORDER BY 1`,
    ),
  };
}

function compare(rows: Rows, ledger: Ledger): void {
  const { facts, settled, pending, captured, toBeCaptured } = rows;
  expect(facts).toEqual(expectedOf(ledger));
  expect(settled).toEqual(expect.arrayContaining([...ledger.charges].map(([id, charge]) => ({ id, ...charge }))));
  expect(settled).toHaveLength(ledger.charges.size + ledger.unseenCharges);
  expect(pending).toHaveLength(
    [...ledger.keys.values()].filter(({ reply }) => !reply).length - ledger.openRefunds.size,
  );
  // The bank has captured each charge that succeeded, and each pending charge whose answer was lost.
  expect(captured).toEqual(toBeCaptured);
  compareRefunds(rows, ledger);
}

/** The bank has paid each refund, also those whose answer was lost. */
function compareRefunds({ refunds, openRefunds, paidBack, toBePaidBack }: Rows, ledger: Ledger): void {
  expect(refunds).toEqual(expect.arrayContaining([...ledger.refunds].map(([id, refund]) => ({ id, ...refund }))));
  expect(refunds).toHaveLength(ledger.refunds.size + ledger.recoveredRefunds.size);
  expect(openRefunds).toHaveLength(ledger.openRefunds.size);
  expect(openRefunds).toEqual(expect.arrayContaining([...ledger.openRefunds.values()]));
  expect(paidBack).toEqual(toBePaidBack);
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

/** Sorts rows by their first member, which is their name. */
const sorted = <Row extends object>(rows: Row[]) =>
  rows.sort((one, other) => (String(Object.values(one)[0]) < String(Object.values(other)[0]) ? -1 : 1));
