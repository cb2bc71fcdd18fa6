import type { Operation } from './history.js';

/** The items that each account sells from a stock of its own. */
export const ITEMS = ['item_1', 'item_2', 'item_3', 'item_4', 'item_5'];
/** The only currency of a run. */
export const CURRENCY = 'eur';

export interface Line {
  item_id: string;
  quantity: number;
  /** Minor units. */
  unit_amount: number;
}

/** @param name of the operation, and its key */
export function chargeOf(account: string, name: string, amount: number, more: object = {}): Operation {
  const id = `${account}:${name}`;
  const body = { amount, currency: CURRENCY, source: 'tok_visa', description: id, ...more };
  return { id, account, key: name, path: '/charges', body };
}

/** @param name of the operation: its natural key, and its idempotency key if it has one */
export function orderOf(account: string, name: string, items: Line[], isKeyed: boolean): Operation {
  const id = `${account}:${name}`;
  const body = { order_id: name, customer_id: id, currency: CURRENCY, items };
  return { id, account, path: '/orders', body, ...(isKeyed && { key: name }) };
}

/**
 * @param name of the operation, and its key
 * @param chargeId the id of the charge, which belongs to the same account
 * @param amount minor units; undefined for all that is left of the charge
 */
export function refundOf(account: string, name: string, chargeId: string, amount?: number): Operation {
  const id = `${account}:${name}`;
  const body = { reason: id, ...(amount !== undefined && { amount }) };
  return { id, account, key: name, path: `/charges/${chargeId}/refunds`, body };
}

/** The charge that pays for an order. */
export function paymentOf(order: Operation, name: string, more: object = {}): Operation {
  const { order_id, items } = order.body as { order_id: string; items: Line[] };
  const amount = items.reduce((sum, { quantity, unit_amount }) => sum + quantity * unit_amount, 0);
  return chargeOf(order.account, name, amount, { order_id, ...more });
}
