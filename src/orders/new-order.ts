import { isDeepStrictEqual } from 'node:util';
import type { PhaseItem } from '../idempotency/index.js';
import { nameWithin } from '../postgres/lock-order.js';
import type { PlaceOrder } from './dto/place-order.dto.js';
import type { Order } from './order.entity.js';

/** An order that has not been inserted yet, without the columns that the database fills in. */
export type NewOrder = Pick<Order, 'account_id' | 'order_id' | 'amount' | 'currency' | 'customer_id' | 'items'>;

/** Makes the row of an order from the request that places it. */
export const newOrderOf = ({ accountId, input }: Pick<PhaseItem<PlaceOrder>, 'accountId' | 'input'>): NewOrder => ({
  account_id: accountId,
  order_id: input.order_id,
  amount: input.items.reduce((sum, { quantity, unit_amount }) => sum + quantity * unit_amount, 0),
  currency: input.currency ?? 'eur',
  customer_id: input.customer_id ?? null,
  // The items get the form that jsonb returns, so that they can be compared with stored items: the members have one
  // order, and -0 becomes 0, because jsonb has no -0.
  items: input.items.map(({ item_id, quantity, unit_amount }) => ({
    item_id,
    quantity,
    unit_amount: unit_amount === 0 ? 0 : unit_amount,
  })),
});

/** The natural key of an order. */
export type OrderName = Pick<Order, 'account_id' | 'order_id'>;

/** Joins the account and the `order_id` into one string, which is unique across accounts. */
export const nameOf = ({ account_id, order_id }: OrderName) => nameWithin(account_id, order_id);

/**
 * Whether two orders of one name have the same content. The order of their items matters, as it does in the fingerprint
 * of a body.
 */
export const hasSameContent = (a: NewOrder, b: NewOrder) =>
  a.currency === b.currency && a.customer_id === b.customer_id && isDeepStrictEqual(a.items, b.items);
