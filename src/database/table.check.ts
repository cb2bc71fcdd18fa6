import type { DataSource } from 'typeorm';
import { ConfigError } from '../config.js';
import { faultsOfTables } from '../postgres/tables.js';

const ADD_AND_CHANGE = ['SELECT', 'INSERT', 'UPDATE'];
const ALL = [...ADD_AND_CHANGE, 'DELETE'];

/** The tables of the service in its own schema, and the rights that its statements need. */
export const TABLES: Readonly<Record<string, readonly string[]>> = {
  // The idempotency module checks its own rights.
  processed_requests: [],
  charges: ADD_AND_CHANGE,
  orders: ADD_AND_CHANGE,
  order_payments: ADD_AND_CHANGE,
  inventory: ADD_AND_CHANGE,
  customers: ADD_AND_CHANGE,
  balances: ADD_AND_CHANGE,
  outbox: ALL,
  // Nothing is updated there, but PostgreSQL asks for the right to lock a row.
  processed_messages: ALL,
  failed_messages: ALL,
};

/**
 * The invariant: a service that has started can write every effect, in one schema, so that a crash of the database loses none. A missing
 * right would otherwise show after the bank has captured, and an unlogged table is emptied by a crash.
 *
 * @throws {ConfigError} that names the tables and what each lacks
 */
export async function checkTables(dataSource: DataSource): Promise<void> {
  const faults = await faultsOfTables(dataSource, TABLES);
  if (faults.length > 0) throw new ConfigError(faults.map((fault) => `DATABASE_URL: ${fault}`).join('\n'));
}
