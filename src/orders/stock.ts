import type { EntityManager } from 'typeorm';
import { nameWithin } from '../postgres/lock-order.js';
import { nameOf, type NewOrder } from './new-order.js';

/** An item that has less stock than an order requests. */
export interface Shortage {
  item_id: string;
  requested: number;
  available: number;
}

/** The outcome of {@link takeStock}. An order is in neither member if an earlier order of the list has the same name and was supplied. */
export interface Allocation {
  /** Orders that got all of their stock, at most one for each name. */
  supplied: NewOrder[];
  /** For each order that got no stock, the items that did not have enough. */
  shortages: Map<NewOrder, Shortage[]>;
}

/**
 * Takes the stock of orders. Each order gets all of its items or none. Orders are served in the order of the list, so
 * an order sees the stock that the orders before it have left. If several orders have the same name, only the first
 * order that can be supplied gets stock.
 */
export async function takeStock(tx: EntityManager, orders: NewOrder[]): Promise<Allocation> {
  if (orders.length === 0) return { supplied: [], shortages: new Map() };
  const allocation = allocate(orders, await lockStock(tx, orders));
  if (allocation.supplied.length > 0) {
    await tx.query(TAKE, [JSON.stringify(allocation.supplied.flatMap(linesOf))]);
  }
  return allocation;
}

/** Decides which orders can be supplied from `stock`, and reduces `stock` by what they get. */
function allocate(orders: NewOrder[], stock: Map<string, number>): Allocation {
  const supplied = new Map<string, NewOrder>();
  const shortages = new Map<NewOrder, Shortage[]>();
  for (const order of orders) {
    if (supplied.has(nameOf(order))) continue;
    const available = (item_id: string) => stock.get(nameWithin(order.account_id, item_id)) ?? 0;
    const missing = order.items
      .map(({ item_id, quantity }) => ({ item_id, requested: quantity, available: available(item_id) }))
      .filter((item) => item.requested > item.available);
    if (missing.length > 0) {
      shortages.set(order, missing);
      continue;
    }
    for (const { item_id, quantity } of order.items) {
      stock.set(nameWithin(order.account_id, item_id), available(item_id) - quantity);
    }
    supplied.set(nameOf(order), order);
  }
  return { supplied: [...supplied.values()], shortages };
}

interface StockRow {
  account_id: string;
  item_id: string;
  stock: number;
}

/** @returns the stock of each item in the orders; the key is {@link nameWithin} of the account and the item */
async function lockStock(tx: EntityManager, orders: NewOrder[]): Promise<Map<string, number>> {
  const rows = await tx.query<StockRow[]>(LOCK, [JSON.stringify(orders.flatMap(linesOf))]);
  return new Map(rows.map(({ account_id, item_id, stock }) => [nameWithin(account_id, item_id), stock]));
}

const linesOf = ({ account_id, items }: NewOrder) =>
  items.map(({ item_id, quantity }) => ({ account_id, item_id, quantity }));

// ORDER BY makes every transaction lock the rows in the same order, so that two transactions cannot deadlock.
const LOCK = `
  SELECT stocked.account_id, stocked.item_id, stocked.stock
  FROM inventory AS stocked
  WHERE (stocked.account_id, stocked.item_id) IN (
    SELECT account_id, item_id FROM jsonb_to_recordset($1::jsonb) AS line (account_id text, item_id text))
  ORDER BY stocked.account_id, stocked.item_id
  FOR UPDATE`;

// Reduces the stock of the locked rows. The constraint inventory_stock rejects a negative stock, even if the
// calculation above is wrong.
const TAKE = `
  UPDATE inventory SET stock = stock - taken.quantity
  FROM (SELECT account_id, item_id, sum(quantity)::integer AS quantity
        FROM jsonb_to_recordset($1::jsonb) AS line (account_id text, item_id text, quantity integer)
        GROUP BY account_id, item_id) AS taken
  WHERE inventory.account_id = taken.account_id AND inventory.item_id = taken.item_id`;
