import { isDeepStrictEqual } from 'node:util';
import type { PhaseItem } from '../idempotency/index.js';
import { nameWithin } from '../postgres/lock-order.js';
import type { Order } from './order.entity.js';
import type { PlaceOrder } from './dto/place-order.dto.js';

/** An order before it is placed. */
export type NewOrder = Pick<Order, 'account_id' | 'order_id' | 'amount' | 'currency' | 'customer_id' | 'items'>;

/** The row of a new order, without the columns that the database fills in. */
export const orderRow = ({ accountId, input }: Pick<PhaseItem<PlaceOrder>, 'accountId' | 'input'>): NewOrder => ({
  account_id: accountId,
  order_id: input.order_id,
  amount: input.items.reduce((sum, { quantity, unit_amount }) => sum + quantity * unit_amount, 0),
  currency: input.currency ?? 'eur',
  customer_id: input.customer_id ?? null,
  // In the form that jsonb returns, so that they can be compared: members in one order, and 0 for -0, which jsonb does not have.
  items: input.items.map(({ item_id, quantity, unit_amount }) => ({
    item_id,
    quantity,
    unit_amount: unit_amount === 0 ? 0 : unit_amount,
  })),
});

export type OrderName = Pick<Order, 'account_id' | 'order_id'>;

/** Account and `order_id` in one text. */
export const nameOf = ({ account_id, order_id }: OrderName) => nameWithin(account_id, order_id);

/** Whether two orders are the same request. The order of the items counts, as in the fingerprint of a body. */
export const isSame = (a: NewOrder, b: NewOrder) =>
  a.currency === b.currency && a.customer_id === b.customer_id && isDeepStrictEqual(a.items, b.items);
