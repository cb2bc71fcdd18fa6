import type { EntityManager } from 'typeorm';
import { Problem } from '../http/problem.js';
import type { Phase, Reply } from '../idempotency/index.js';
import { isSame, nameOf, type NewOrder, type OrderName, orderRow } from './new-order.js';
import { Order } from './order.entity.js';
import type { PlaceOrder } from './dto/place-order.dto.js';
import { toResource } from './dto/order.resource.js';
import { markPaid } from './payments.js';
import { type Shortage, takeStock } from './stock.js';

/**
 * Places orders: the order, its stock and, under an idempotency key, the recorded reply are one commit.
 *
 * Stock is taken relative to what is there, so taking it twice would be wrong. It is taken once, because an order is created
 * once: the unique constraint on its natural key, `order_id`, decides which transaction creates it, and only that one takes
 * stock.
 *
 * Different orders under one `order_id` are judged in their order, as if each came after the commit of the one before. None of
 * them makes the phase throw, because a throw would fail the whole group, with the orders of other accounts in it.
 */
export const place: Phase<PlaceOrder, Reply> = async (tx, items) => {
  const wanted = items.map(orderRow);
  const created = await insert(tx, firstOfEach(wanted));
  const isOurs = namesOf(created);
  const { kept, shortages } = await takeStock(
    tx,
    wanted.filter((order) => isOurs.has(nameOf(order))),
  );
  await replaceRows(tx, created, kept);
  if (kept.length > 0) await markPaid(tx, kept);
  const placed = await find(tx, firstOfEach(wanted));
  return wanted.map((order, i) => {
    const missing = shortages.get(order);
    if (missing) return insufficientStock(missing, items[i]?.isRecorded ? 'final' : 'not_started').toReply();
    return judge(order, placed.get(nameOf(order)));
  });
};

/** @param placed the order that has the name of `wanted`, if there is one */
function judge(wanted: NewOrder, placed: Order | undefined): Reply {
  if (!placed) throw new Error(`${wanted.order_id} was neither placed nor refused`);
  return isSame(placed, wanted) ? { status: 200, body: toResource(placed) } : orderIdReused().toReply();
}

/** Deletes the rows of created orders that got no stock, and inserts the orders that got it in their place. */
async function replaceRows(tx: EntityManager, created: NewOrder[], kept: NewOrder[]): Promise<void> {
  const refused = created.filter((order) => !kept.includes(order));
  if (refused.length > 0) await tx.remove(refused.map((order) => tx.create(Order, order)));
  const later = kept.filter((order) => !created.includes(order));
  if (later.length > 0) await insert(tx, later);
}

const namesOf = (orders: OrderName[]) => new Set(orders.map(nameOf));

const firstOfEach = (orders: NewOrder[]) => {
  const firsts = new Map<string, NewOrder>();
  for (const order of orders) if (!firsts.has(nameOf(order))) firsts.set(nameOf(order), order);
  return [...firsts.values()];
};

/** @returns the orders that were created; the names of the others belong to orders that are there already */
async function insert(tx: EntityManager, orders: NewOrder[]): Promise<NewOrder[]> {
  const names = namesOf(await tx.query<OrderName[]>(INSERT, [JSON.stringify(orders)]));
  return orders.filter((order) => names.has(nameOf(order)));
}

async function find(tx: EntityManager, orders: NewOrder[]): Promise<Map<string, Order>> {
  const found = await tx.findBy(
    Order,
    orders.map(({ account_id, order_id }) => ({ account_id, order_id })),
  );
  return new Map(found.map((order) => [nameOf(order), order]));
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

const insufficientStock = (items: Shortage[], outcome: 'final' | 'not_started') =>
  new Problem('insufficient_stock', 'There is not enough of some items; nothing was taken of any.', {
    outcome,
    extensions: { items },
  });
