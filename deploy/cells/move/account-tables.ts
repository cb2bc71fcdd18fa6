import type { CellDatabase } from './cell-database.js';

export type Write = 'INSERT' | 'UPDATE' | 'DELETE';

/** A table with rows of accounts, and what the move has to know about it. */
export interface AccountTable {
  /** The name with its schema where necessary, quoted for SQL. */
  name: string;
  /** The time since which a row has not changed and will not change; the column is NULL while the row may still change. */
  finalAt?: string;
  /** Writes that begin new work. Every other write is part of work that has already begun. */
  begins: readonly Write[];
  /**
   * The time at which a worker may start from an unfinished row. In a cell where the row is still arriving, the column is 'infinity', so that
   * no worker starts.
   */
  dueAt?: string;
  /** Whether a row says that a message was processed. */
  isInbox: boolean;
}

/** Facts about some tables. In every other table, rows may always change, and no work begins. */
const SPECIAL: Readonly<Record<string, Partial<AccountTable>>> = {
  processed_requests: { finalAt: 'completed_at', begins: ['INSERT'], dueAt: 'locked_until' },
  outbox: { finalAt: 'published_at', dueAt: 'available_at' },
  processed_messages: { finalAt: 'processed_at', isInbox: true },
  charges: { finalAt: 'settled_at' },
  stripe_payments: { finalAt: 'opened_at' },
  'bank.captures': { finalAt: 'captured_at' },
  refunds: { finalAt: 'settled_at' },
  'bank.refunds': { finalAt: 'refunded_at' },
  // A further mail gives the row a new time.
  mailed_orders: { finalAt: 'mailed_at' },
  // Orders, stock and customers may be written without an idempotency key.
  orders: { finalAt: 'paid_at', begins: ['INSERT'] },
  inventory: { begins: ['INSERT', 'UPDATE', 'DELETE'] },
  customers: { begins: ['INSERT', 'UPDATE', 'DELETE'] },
};

/**
 * The tables that a move leaves alone, although they have rows of accounts. The events in `unmatched_events` wait for their charge. Every cell
 * receives every event of Stripe, so the new cell has the same rows before the account arrives, and the effect of an event is idempotent.
 */
const NOT_MOVED = ['unmatched_events'];

const PAYS_ORDER = `m.type = 'charge.succeeded' AND m.data->>'order_id' IS NOT NULL`;

/** The consumers, by name, and an SQL condition on a message `m` of the outbox that says whether it concerns the consumer. */
export const CONSUMERS: Readonly<Record<string, string>> = {
  balance: `m.type IN ('charge.succeeded', 'refund.succeeded', 'charge.refunded_elsewhere', 'dispute.funds_withdrawn', 'dispute.funds_reinstated')`,
  notifications: PAYS_ORDER,
  orders: PAYS_ORDER,
};

/** Finds the tables with rows of accounts that a move copies: by the rule of the schema, their primary key begins with `account_id`. */
export async function accountTables(database: CellDatabase): Promise<AccountTable[]> {
  const tables = await database.query<{ name: string }>(
    `
    SELECT c.oid::regclass::text AS name
    FROM pg_index i
    JOIN pg_class c ON c.oid = i.indrelid AND NOT c.relispartition
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] AND a.attname = 'account_id'
    WHERE i.indisprimary AND c.relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname = 'cells')
      AND c.relname <> ALL ($1)
    ORDER BY name`,
    [NOT_MOVED],
  );
  return tables.map(({ name }) => ({ name, begins: [], isInbox: false, ...SPECIAL[name] }));
}
