import type { EntityManager } from 'typeorm';
import { nameWithin } from '../postgres/lock-order.js';
import { nameOf, type NewOrder } from './new-order.js';

/** An item of which there is not enough. */
export interface Shortage {
  item_id: string;
  requested: number;
  available: number;
}

interface StockRow {
  account_id: string;
  item_id: string;
  stock: number;
}

/** The orders that got their stock, and the shortages of each order that did not. */
interface Taking {
  kept: NewOrder[];
  shortages: Map<NewOrder, Shortage[]>;
}

/**
 * Takes the stock of orders, for each order all or nothing, in their order. Several orders may have one name: the first that
 * can be had gets its stock, and the ones after it are not looked at.
 */
export async function takeStock(tx: EntityManager, orders: NewOrder[]): Promise<Taking> {
  const kept = new Map<string, NewOrder>();
  const shortages = new Map<NewOrder, Shortage[]>();
  if (orders.length === 0) return { kept: [], shortages };
  const left = await lockStock(tx, orders);
  for (const order of orders) {
    if (kept.has(nameOf(order))) continue;
    const { account_id, items } = order;
    const available = (item_id: string) => left.get(nameWithin(account_id, item_id)) ?? 0;
    const missing = items.filter(({ item_id, quantity }) => quantity > available(item_id));
    if (missing.length > 0) {
      shortages.set(
        order,
        missing.map(({ item_id, quantity }) => ({ item_id, requested: quantity, available: available(item_id) })),
      );
      continue;
    }
    for (const { item_id, quantity } of items) left.set(nameWithin(account_id, item_id), available(item_id) - quantity);
    kept.set(nameOf(order), order);
  }
  if (kept.size > 0) await tx.query(TAKE, [JSON.stringify([...kept.values()].flatMap(linesOf))]);
  return { kept: [...kept.values()], shortages };
}

/** @returns the stock of each item in the orders, by {@link nameWithin} its account */
async function lockStock(tx: EntityManager, orders: NewOrder[]): Promise<Map<string, number>> {
  const rows = await tx.query<StockRow[]>(LOCK, [JSON.stringify(orders.flatMap(linesOf))]);
  return new Map(rows.map(({ account_id, item_id, stock }) => [nameWithin(account_id, item_id), stock]));
}

const linesOf = ({ account_id, items }: NewOrder) =>
  items.map(({ item_id, quantity }) => ({ account_id, item_id, quantity }));

// The rows are locked in one order, whatever the order of the items is, so that two orders cannot wait for each other.
const LOCK = `
  SELECT stocked.account_id, stocked.item_id, stocked.stock
  FROM inventory AS stocked
  WHERE (stocked.account_id, stocked.item_id) IN (
    SELECT account_id, item_id FROM jsonb_to_recordset($1::jsonb) AS line (account_id text, item_id text))
  ORDER BY stocked.account_id, stocked.item_id
  FOR UPDATE`;

// Relative to what is there, and refused by the constraint should there be too little after all.
const TAKE = `
  UPDATE inventory SET stock = stock - taken.quantity
  FROM (SELECT account_id, item_id, sum(quantity)::integer AS quantity
        FROM jsonb_to_recordset($1::jsonb) AS line (account_id text, item_id text, quantity integer)
        GROUP BY account_id, item_id) AS taken
  WHERE inventory.account_id = taken.account_id AND inventory.item_id = taken.item_id`;
