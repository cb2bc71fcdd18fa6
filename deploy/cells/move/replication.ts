import { createHash } from 'node:crypto';
import type { AccountTable } from './account-tables.js';
import { type CellDatabase, literal } from './cell-database.js';

/** The state of the copy of an account. */
export interface CopyProgress {
  /** Tables whose existing rows have arrived, and which follow the changes. */
  ready: number;
  tables: number;
  /** Failed attempts to apply a row or to copy a table. PostgreSQL repeats them, and its log has the reason. */
  errors: number;
}

/** The publication, the subscription and the replication slot of an account have this name. It is a hash, because names have at most 63 bytes. */
export const replicationName = (account: string) =>
  `move_${createHash('sha256').update(account).digest('hex').slice(0, 16)}`;

/** Publishes the rows of one account, unless they are published. The row of `cells.homes` is one of them. */
export async function publish(from: CellDatabase, tables: readonly AccountTable[], account: string): Promise<void> {
  if (await isPublished(from, account)) return;
  const filtered = ['cells.homes', ...tables.map(({ name }) => name)].map(
    (name) => `${name} WHERE (account_id = ${literal(account)})`,
  );
  await from.query(`CREATE PUBLICATION ${replicationName(account)} FOR TABLE ${filtered.join(', ')}`);
}

export async function isPublished(from: CellDatabase, account: string): Promise<boolean> {
  const name = replicationName(account);
  return (await from.query('SELECT FROM pg_publication WHERE pubname = $1', [name])).length > 0;
}

export async function isSubscribed(to: CellDatabase, account: string): Promise<boolean> {
  const name = replicationName(account);
  return (await to.query('SELECT FROM pg_subscription WHERE subname = $1', [name])).length > 0;
}

/** Starts to copy the published rows and to follow their changes. */
export async function subscribe(to: CellDatabase, from: CellDatabase, account: string): Promise<void> {
  const name = replicationName(account);
  await to.query(`CREATE SUBSCRIPTION ${name} CONNECTION ${literal(from.urlForCells)} PUBLICATION ${name}`);
}

export function copyProgress(to: CellDatabase, account: string): Promise<CopyProgress> {
  return to.one<CopyProgress>(
    `SELECT (SELECT count(*) FROM pg_subscription_rel WHERE srsubid = s.oid AND srsubstate = 'r')::int AS ready,
            (SELECT count(*) FROM pg_subscription_rel WHERE srsubid = s.oid)::int AS tables,
            (stats.apply_error_count + stats.sync_error_count)::int AS errors
     FROM pg_subscription s JOIN pg_stat_subscription_stats stats ON stats.subid = s.oid WHERE s.subname = $1`,
    [replicationName(account)],
  );
}

/**
 * Ends the copy. Later changes in the old cell do not arrive in the new cell.
 *
 * @throws Error if the old cell still has the replication slot, because then the rows of the old cell must not be deleted
 */
export async function endReplication(to: CellDatabase, from: CellDatabase, account: string): Promise<void> {
  const name = replicationName(account);
  await to.query(`DROP SUBSCRIPTION IF EXISTS ${name}`);
  const slots = await from.query('SELECT FROM pg_replication_slots WHERE slot_name = $1', [name]);
  if (slots.length > 0) throw new Error(`${from.name} still has the replication slot ${name}`);
}

/** Call this last, because the publication marks a move that is not finished. */
export async function unpublish(from: CellDatabase, account: string): Promise<void> {
  await from.query(`DROP PUBLICATION IF EXISTS ${replicationName(account)}`);
}
