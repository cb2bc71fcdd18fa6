import type { AccountTable } from './account-tables.js';
import type { CellDatabase } from './cell-database.js';

/** Rows of one transaction, so that a deletion of millions of rows holds locks for milliseconds only. */
const BATCH_ROWS = 5_000;

/**
 * Deletes the rows of an account that has moved. Call this after the replication has ended, because the replication would delete the rows of the new cell too.
 *
 * @returns the number of deleted rows
 */
export async function clean(
  cell: CellDatabase,
  tables: readonly AccountTable[],
  account: string,
  onProgress: (rows: number) => void,
): Promise<number> {
  let deleted = 0;
  for (const { name } of tables) {
    for (let rows = BATCH_ROWS; rows === BATCH_ROWS;) {
      rows = await cell.inTransaction(async (sql) => {
        // The guard refuses to delete rows of this account. Its triggers do not run for replication.
        await sql.query('SET LOCAL session_replication_role = replica');
        const ids = await sql.query(
          `DELETE FROM ${name} WHERE account_id = $1 AND ctid = ANY (ARRAY (SELECT ctid FROM ${name} WHERE account_id = $1 LIMIT $2))
           RETURNING 1`,
          [account, BATCH_ROWS],
        );
        return ids.length;
      });
      deleted += rows;
      onProgress(deleted);
    }
  }
  return deleted;
}
