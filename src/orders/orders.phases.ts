import type { EntityManager } from 'typeorm';
import { Problem } from '../http/problem.js';
import type { Phase, Reply } from '../idempotency/index.js';
import { AWAIT_STANDBYS } from '../postgres/replication.js';
import { toResource } from './dto/order.resource.js';
import type { PlaceOrder } from './dto/place-order.dto.js';
import { hasSameContent, nameOf, type NewOrder, newOrderOf, type OrderName } from './new-order.js';
import { applyEarlierPayments } from './order-payments.js';
import { Order } from './order.entity.js';
import { type Shortage, takeStock } from './stock.js';

/**
 * Places orders. The order, its stock and, if the request has an idempotency key, the recorded reply are committed
 * together.
 *
 * Taking stock is not idempotent, because it subtracts. It happens once for each order, because the unique constraint
 * on the natural key `order_id` decides which transaction creates the order, and only this transaction takes stock.
 *
 * A group may contain several requests with one `order_id`. Each gets the reply that it would get if it ran after the
 * commit of the requests before it. The phase does not throw for any of them, because a throw would fail the whole
 * group, including requests of other accounts.
 */
export const placeOrder: Phase<PlaceOrder, Reply> = async (tx, requests) => {
  const wanted = requests.map(newOrderOf);
  const firsts = firstOfEachName(wanted);
  // Rows are inserted before stock is taken, because the insert decides which names are new.
  const inserted = await insert(tx, firsts);
  const newNames = namesOf(inserted);
  // The answer acknowledges orders that exist already, so they must be replicated.
  if (inserted.length < firsts.length) await tx.query(`SELECT ${AWAIT_STANDBYS}`);
  const isNew = (order: NewOrder) => newNames.has(nameOf(order));
  const { supplied, shortages } = await takeStock(tx, wanted.filter(isNew));
  await keepOnlySupplied(tx, inserted, supplied);
  await applyEarlierPayments(tx, supplied);
  const stored = await find(tx, firsts);
  return wanted.map((order, i) => {
    const missing = shortages.get(order);
    if (missing) return insufficientStock(missing, requests[i]?.isRecorded ? 'final' : 'not_started').toReply();
    const existing = stored.get(nameOf(order));
    if (!existing) throw new Error(`Order ${order.order_id} was neither stored nor refused`);
    return hasSameContent(existing, order) ? { status: 200, body: toResource(existing) } : orderIdReused().toReply();
  });
};

/**
 * Deletes the inserted orders that got no stock. If the first order of a name got no stock and a later order of this
 * name did, the later order is inserted in its place.
 */
async function keepOnlySupplied(tx: EntityManager, inserted: NewOrder[], supplied: NewOrder[]): Promise<void> {
  const refused = inserted.filter((order) => !supplied.includes(order));
  if (refused.length > 0) await tx.remove(refused.map((order) => tx.create(Order, order)));
  const later = supplied.filter((order) => !inserted.includes(order));
  if (later.length > 0) await insert(tx, later);
}

const namesOf = (orders: OrderName[]) => new Set(orders.map(nameOf));

function firstOfEachName(orders: NewOrder[]): NewOrder[] {
  const firsts = new Map<string, NewOrder>();
  for (const order of orders) if (!firsts.has(nameOf(order))) firsts.set(nameOf(order), order);
  return [...firsts.values()];
}

/** @returns the orders that were inserted; orders whose name exists already are left out */
async function insert(tx: EntityManager, orders: NewOrder[]): Promise<NewOrder[]> {
  const names = namesOf(await tx.query<OrderName[]>(INSERT, [JSON.stringify(orders)]));
  return orders.filter((order) => names.has(nameOf(order)));
}

async function find(tx: EntityManager, names: OrderName[]): Promise<Map<string, Order>> {
  const found = await tx.findBy(
    Order,
    names.map(({ account_id, order_id }) => ({ account_id, order_id })),
  );
  return new Map(found.map((order) => [nameOf(order), order]));
}

// ORDER BY makes every transaction insert in the same order, so that two transactions cannot deadlock. If another
// transaction has inserted an order of the same name, the statement waits until that transaction ends.
const INSERT = `
  INSERT INTO orders (account_id, order_id, status, amount, currency, customer_id, items, created_at)
  SELECT account_id, order_id, 'placed', amount, currency, customer_id, items, clock_timestamp()
  FROM jsonb_populate_recordset(NULL::orders, $1::jsonb)
  ORDER BY account_id, order_id
  ON CONFLICT (account_id, order_id) DO NOTHING
  RETURNING account_id, order_id`;

const orderIdReused = () =>
  new Problem('order_id_reused', 'An order with this order_id exists already, and its content is different.', {
    outcome: 'final',
  });

/**
 * @param outcome `final` if the reply is recorded under an idempotency key, because then a retry gets the same reply
 */
const insufficientStock = (items: Shortage[], outcome: 'final' | 'not_started') =>
  new Problem('insufficient_stock', 'Some items do not have enough stock. The order was not placed.', {
    outcome,
    extensions: { items },
  });
