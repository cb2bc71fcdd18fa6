import { isDeepStrictEqual } from 'node:util';
import type { EntityManager } from 'typeorm';
import { Problem } from '../http/problem.js';
import { nameWithin, type Phase, type PhaseItem, type Reply } from '../idempotency/index.js';
import { Order } from './order.entity.js';
import type { PlaceOrder } from './order.input.js';
import { toResource } from './order.resource.js';
import { markPaid } from './payments.js';
import { type Shortage, takeStock } from './stock.js';

/**
 * Places orders: the order, its stock and, under an idempotency key, the recorded reply are one commit.
 *
 * Stock is taken relative to what is there, which repeated would take it twice. It is safe because an order is created
 * once: its natural key, `order_id`, decides by the unique constraint who creates it, and only they take stock.
 */
export const place: Phase<PlaceOrder, Reply> = async (tx, items) => {
  const wanted = firstOfEach(items);
  const created = await insert(tx, wanted);
  const shortages = await takeStock(tx, created);
  const [kept, refused] = partition(created, (order) => !shortages.has(order));
  if (refused.length > 0) await tx.remove(refused.map((order) => tx.create(Order, order)));
  if (kept.length > 0) await markPaid(tx, kept);
  const placed = await find(tx, wanted);
  return items.map((item) => judge(orderRow(item), placed, refused, shortages));
};

function judge(
  wanted: NewOrder,
  placed: Map<string, Order>,
  refused: NewOrder[],
  shortages: Map<NewOrder, Shortage[]>,
): Reply {
  const order = placed.get(nameOf(wanted));
  if (order) return isSame(order, wanted) ? { status: 200, body: toResource(order) } : orderIdReused();
  const twin = refused.find((other) => nameOf(other) === nameOf(wanted));
  // Of two in one commit under one order_id, the first had no luck. The second, if it is another, is judged alone.
  if (!twin || !isSame(twin, wanted)) throw new Error(`${wanted.order_id} is ordered twice in one commit`);
  return insufficientStock(shortages.get(twin) ?? []);
}

/** An order that is to be. */
export type NewOrder = Pick<Order, 'account_id' | 'order_id' | 'amount' | 'currency' | 'customer_id' | 'items'>;

/** The row of an order that is to be, but for what the database says. */
export const orderRow = ({ accountId, input }: PhaseItem<PlaceOrder>): NewOrder => ({
  account_id: accountId,
  order_id: input.order_id,
  amount: input.items.reduce((sum, { quantity, unit_amount }) => sum + quantity * unit_amount, 0),
  currency: input.currency ?? 'eur',
  customer_id: input.customer_id ?? null,
  // As they come back: their members in one order, however they were sent, and 0 for -0, which JSON has and jsonb has not.
  items: input.items.map(({ item_id, quantity, unit_amount }) => ({
    item_id,
    quantity,
    unit_amount: unit_amount === 0 ? 0 : unit_amount,
  })),
});

const nameOf = ({ account_id, order_id }: Pick<Order, 'account_id' | 'order_id'>) => nameWithin(account_id, order_id);

const firstOfEach = (items: readonly PhaseItem<PlaceOrder>[]) => {
  const orders = new Map<string, NewOrder>();
  for (const order of items.map(orderRow)) if (!orders.has(nameOf(order))) orders.set(nameOf(order), order);
  return [...orders.values()];
};

/** Whether two orders are the same request. The order of the items counts, as in the fingerprint of a body. */
const isSame = (a: NewOrder, b: NewOrder) =>
  a.currency === b.currency && a.customer_id === b.customer_id && isDeepStrictEqual(a.items, b.items);

/** @returns those that are ours to make: nobody has, or is about to have, an order of that name */
async function insert(tx: EntityManager, orders: NewOrder[]): Promise<NewOrder[]> {
  const rows = await tx.query<Pick<Order, 'account_id' | 'order_id'>[]>(INSERT, [JSON.stringify(orders)]);
  const names = new Set(rows.map(nameOf));
  return orders.filter((order) => names.has(nameOf(order)));
}

async function find(tx: EntityManager, orders: NewOrder[]): Promise<Map<string, Order>> {
  const found = await tx.findBy(
    Order,
    orders.map(({ account_id, order_id }) => ({ account_id, order_id })),
  );
  return new Map(found.map((order) => [nameOf(order), order]));
}

function partition<T>(all: T[], isLeft: (one: T) => boolean): [T[], T[]] {
  return [all.filter(isLeft), all.filter((one) => !isLeft(one))];
}

// Sorted, so that no two transactions wait for each other. One that finds the order of another waits for its commit.
const INSERT = `
  INSERT INTO orders (account_id, order_id, status, amount, currency, customer_id, items, created_at)
  SELECT account_id, order_id, 'placed', amount, currency, customer_id, items, clock_timestamp()
  FROM jsonb_populate_recordset(NULL::orders, $1::jsonb)
  ORDER BY account_id, order_id
  ON CONFLICT (account_id, order_id) DO NOTHING
  RETURNING account_id, order_id`;

const orderIdReused = () =>
  new Problem('order_id_reused', 'There is an order with this order_id already, and it is another one.', {
    outcome: 'final',
  });

const insufficientStock = (items: Shortage[]) =>
  new Problem('insufficient_stock', 'There is not enough of some items; nothing was taken of any.', {
    extensions: { items },
  });
