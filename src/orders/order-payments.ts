import type { EntityManager } from 'typeorm';
import type { Order } from './order.entity.js';

/** Money for an order. Charges name their order, so the order may not exist yet. */
export type Payment = Pick<Order, 'account_id' | 'order_id' | 'amount' | 'currency'>;

/**
 * Adds payments to the totals of their orders, and marks an order as paid if its total covers its amount. The addition
 * is not idempotent, so the caller must apply each payment once.
 */
export async function applyPayments(tx: EntityManager, payments: Payment[]): Promise<void> {
  if (payments.length === 0) return;
  const rows = JSON.stringify(
    payments.map(({ account_id, order_id, amount, currency }) => ({ account_id, order_id, amount, currency })),
  );
  await tx.query(ADD_TO_TOTALS, [rows]);
  await tx.query(MARK_PAID, [rows]);
}

/**
 * Marks new orders as paid if their payments arrived before them.
 *
 * The function adds a payment of 0 to each order, because the addition locks the row of the order's total. If a payment
 * and its order are written at the same time, the later transaction waits for this row, then sees what the earlier
 * transaction committed, and marks the order as paid.
 */
export const applyEarlierPayments = (tx: EntityManager, orders: Payment[]) =>
  applyPayments(
    tx,
    orders.map((order) => ({ ...order, amount: 0 })),
  );

// ORDER BY makes every transaction lock the rows in the same order, so that two transactions cannot deadlock.
const ADD_TO_TOTALS = `
  INSERT INTO order_payments AS paid (account_id, order_id, currency, amount)
  SELECT account_id, order_id, currency, sum(amount)
  FROM jsonb_to_recordset($1::jsonb) AS payment (account_id text, order_id text, currency text, amount bigint)
  GROUP BY account_id, order_id, currency
  ORDER BY account_id, order_id, currency
  ON CONFLICT (account_id, order_id, currency) DO UPDATE SET amount = paid.amount + excluded.amount`;

// A one-way step: an order goes from placed to paid and never back, so a repetition changes nothing.
const MARK_PAID = `
  UPDATE orders SET status = 'paid', paid_at = clock_timestamp()
  FROM order_payments AS paid
  WHERE (orders.account_id, orders.order_id) IN (
      SELECT account_id, order_id FROM jsonb_to_recordset($1::jsonb) AS payment (account_id text, order_id text))
    AND paid.account_id = orders.account_id AND paid.order_id = orders.order_id AND paid.currency = orders.currency
    AND orders.status = 'placed' AND paid.amount >= orders.amount`;
