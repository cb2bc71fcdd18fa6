import type { Consumer } from '../messaging/index.js';

/** The messages that the balance counts, and whether their amounts are added or subtracted. */
const SIGNS: Readonly<Record<string, 1 | -1>> = {
  'charge.succeeded': 1,
  'refund.succeeded': -1,
  'charge.refunded_elsewhere': -1,
  'dispute.funds_withdrawn': -1,
  'dispute.funds_reinstated': 1,
};

/** The data of a message, as far as the balance uses it. */
interface MoneyMoved {
  amount: number;
  currency: string;
}

/**
 * Adds successful charges to the balance, and subtracts their refunds and their disputed amounts. The addition is not idempotent, so a duplicate message could count
 * twice. A message still counts once, because the same transaction deletes it from the outbox or records it in the inbox. The order of messages does not change the sum.
 *
 * A refund can arrive before its charge, so the sum can be negative for a moment, and no constraint forbids it.
 */
export const earningsConsumer: Consumer = {
  name: 'balance',
  types: Object.keys(SIGNS),
  handle: async (tx, messages) => {
    const rows = messages.map(({ accountId, type, data }) => {
      const { amount, currency } = data as MoneyMoved;
      return { account_id: accountId, currency, amount: (SIGNS[type] ?? 0) * amount };
    });
    await tx.query(ADD, [JSON.stringify(rows)]);
  },
};

// ORDER BY makes every transaction lock the rows in the same order, so that two transactions cannot deadlock.
const ADD = `
  INSERT INTO balances AS balance (account_id, currency, amount)
  SELECT account_id, currency, sum(amount)
  FROM jsonb_to_recordset($1::jsonb) AS moved (account_id text, currency text, amount bigint)
  GROUP BY account_id, currency
  ORDER BY account_id, currency
  ON CONFLICT (account_id, currency) DO UPDATE SET amount = balance.amount + excluded.amount`;
