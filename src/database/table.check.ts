import type { EntityManager } from 'typeorm';
import { ConfigError } from '../config.js';
import { faultsOfTables } from '../postgres/tables.js';

const ADD_AND_CHANGE = ['SELECT', 'INSERT', 'UPDATE'];
const ALL = [...ADD_AND_CHANGE, 'DELETE'];

/** The tables of the service, and the rights that its statements need on them. */
export const TABLES: Readonly<Record<string, readonly string[]>> = {
  // The idempotency module checks its own rights.
  processed_requests: [],
  charges: ADD_AND_CHANGE,
  refunds: ADD_AND_CHANGE,
  stripe_payments: ADD_AND_CHANGE,
  unmatched_events: ALL,
  reported_refunds: ADD_AND_CHANGE,
  disputes: ADD_AND_CHANGE,
  orders: ADD_AND_CHANGE,
  order_payments: ADD_AND_CHANGE,
  inventory: ADD_AND_CHANGE,
  customers: ADD_AND_CHANGE,
  balances: ADD_AND_CHANGE,
  mailed_orders: ALL,
  outbox: ALL,
  // The service does not update these rows, but PostgreSQL requires UPDATE for a row lock.
  processed_messages: ALL,
  failed_messages: ALL,
};

/**
 * Checks that the service can write every effect durably. A missing right would otherwise show only after the bank has captured, and a crash of the
 * database empties unlogged tables.
 *
 * @throws {ConfigError} with the faults of each table
 */
export async function checkTables(manager: EntityManager): Promise<void> {
  const faults = await faultsOfTables(manager, TABLES);
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => `DATABASE_URL: ${fault}`).join('\n'));
}
