import type { EntityManager } from 'typeorm';
import type { Consumer, Message } from '../messaging/index.js';
import type { Order } from './order.entity.js';

/** What `charge.succeeded` tells. */
interface ChargeSucceeded {
  charge_id: string;
  amount: number;
  currency: string;
  order_id: string | null;
}

/**
 * Marks orders paid. What has been paid is added up, which repeated would count it twice: it happens once because the inbox
 * lets each message in once. A payment may come before its order; both add to one row, so neither overlooks the other.
 */
export const payments: Consumer = {
  name: 'orders',
  types: ['charge.succeeded'],
  concerns: ({ data }) => (data as ChargeSucceeded).order_id !== null,
  handle: async (tx, messages) => {
    const paid = messages.map(({ accountId, data }: Message) => {
      const { order_id, amount, currency } = data as ChargeSucceeded;
      return { account_id: accountId, order_id: order_id ?? '', amount, currency };
    });
    await add(tx, paid);
  },
};

/** Marks new orders paid that have been paid already. */
export const markPaid = (tx: EntityManager, orders: Payment[]) =>
  add(
    tx,
    orders.map(({ account_id, order_id, currency }) => ({ account_id, order_id, currency, amount: 0 })),
  );

type Payment = Pick<Order, 'account_id' | 'order_id' | 'amount' | 'currency'>;

async function add(tx: EntityManager, payments: Payment[]): Promise<void> {
  const rows = JSON.stringify(
    payments.map(({ account_id, order_id, amount, currency }) => ({ account_id, order_id, amount, currency })),
  );
  await tx.query(ADD, [rows]);
  await tx.query(MARK_PAID, [rows]);
}

// Whoever comes second waits here for the commit of the first, and then sees what that has written.
const ADD = `
  INSERT INTO order_payments AS paid (account_id, order_id, currency, amount)
  SELECT account_id, order_id, currency, sum(amount)
  FROM jsonb_to_recordset($1::jsonb) AS payment (account_id text, order_id text, currency text, amount bigint)
  GROUP BY account_id, order_id, currency
  ORDER BY account_id, order_id, currency
  ON CONFLICT (account_id, order_id, currency) DO UPDATE SET amount = paid.amount + excluded.amount`;

// From placed to paid and never back: to do this twice is to do it once.
const MARK_PAID = `
  UPDATE orders SET status = 'paid', paid_at = clock_timestamp()
  FROM order_payments AS paid
  WHERE (orders.account_id, orders.order_id) IN (
      SELECT account_id, order_id FROM jsonb_to_recordset($1::jsonb) AS payment (account_id text, order_id text))
    AND paid.account_id = orders.account_id AND paid.order_id = orders.order_id AND paid.currency = orders.currency
    AND orders.status = 'placed' AND paid.amount >= orders.amount`;
