import type { Consumer } from '../messaging/index.js';

/** What `charge.succeeded` tells. */
interface ChargeSucceeded {
  amount: number;
  currency: string;
}

/**
 * Adds charges to the balance: the classic that counts twice when a message comes twice. It counts once because the inbox lets
 * each message in once, in the same transaction, and the order of the messages makes no difference to a sum.
 */
export const earnings: Consumer = {
  name: 'balance',
  types: ['charge.succeeded'],
  handle: async (tx, messages) => {
    const rows = messages.map(({ accountId, data }) => {
      const { amount, currency } = data as ChargeSucceeded;
      return { account_id: accountId, currency, amount };
    });
    await tx.query(ADD, [JSON.stringify(rows)]);
  },
};

// Sorted, so that no two transactions wait for each other.
const ADD = `
  INSERT INTO balances AS balance (account_id, currency, amount)
  SELECT account_id, currency, sum(amount)
  FROM jsonb_to_recordset($1::jsonb) AS charge (account_id text, currency text, amount bigint)
  GROUP BY account_id, currency
  ORDER BY account_id, currency
  ON CONFLICT (account_id, currency) DO UPDATE SET amount = balance.amount + excluded.amount`;
