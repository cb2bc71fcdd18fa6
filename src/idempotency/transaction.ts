import type { DataSource, EntityManager } from 'typeorm';
import { isConflict, isRolledBack } from './database-errors.js';

/** What this module uses of a `pg` client. Below TypeORM, since only the raw result tells what COMMIT did. */
export interface SqlClient {
  readonly connection: { readonly stream: { destroy(): unknown } };
  query(statement: { name?: string; text: string; values: unknown[] } | string): Promise<SqlResult>;
}

export interface SqlResult {
  command: string;
  rowCount: number | null;
  rows: Record<string, unknown>[];
}

/** An open transaction: one connection, seen raw (for protocol rows) and as TypeORM's manager (for yours). */
export interface Transaction {
  readonly sql: SqlClient;
  readonly manager: EntityManager;
}

/** The server may or may not have committed: only the key itself can tell. */
export class CommitUnknown extends Error {
  override readonly name = 'CommitUnknown';
}

/**
 * The connection is cut when a transaction takes longer: a server that no longer answers must not hold a request for
 * ever. Longer than a sensible `statement_timeout`, so that a server that does answer speaks first. Never by pg's
 * `query_timeout`, which returns a connection with an open transaction to the pool.
 */
const LIMIT_MS = 15_000;

/** How often work that only lost a race (deadlock, serialization failure) is run in all. */
const ATTEMPTS = 3;

/**
 * Runs `work` in a transaction of its own and commits it. READ COMMITTED whatever the server's default is: the
 * protocol needs the statement after a lost race to see the winner.
 *
 * @throws CommitUnknown when COMMIT was sent and its answer was lost
 */
export async function inTransaction<T>(
  dataSource: DataSource,
  work: (tx: Transaction) => Promise<T>,
  attempts = ATTEMPTS,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await runOnce(dataSource, work);
    } catch (error) {
      if (attempt === attempts || !isConflict(error)) throw error;
    }
  }
}

async function runOnce<T>(dataSource: DataSource, work: (tx: Transaction) => Promise<T>): Promise<T> {
  const runner = dataSource.createQueryRunner();
  const sql = (await runner.connect()) as SqlClient;
  // Not `end()`, which would wait for the answers to what a pipelining client has sent. The pool drops what is cut.
  const cut = () => void sql.connection.stream.destroy();
  const limit = setTimeout(cut, LIMIT_MS);
  try {
    await sql.query('BEGIN ISOLATION LEVEL READ COMMITTED');
    // TypeORM's own start takes two statements. Told like this, save() joins, and a nested transaction() is a savepoint.
    Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
    const result = await work({ sql, manager: runner.manager }).catch(async (error: unknown) => {
      await sql.query('ROLLBACK').catch(cut);
      throw error;
    });
    await commit(sql);
    return result;
  } finally {
    clearTimeout(limit);
    await runner.release();
  }
}

async function commit(sql: SqlClient): Promise<void> {
  const { command } = await sql.query('COMMIT').catch((error: unknown) => {
    throw isRolledBack(error) ? error : new CommitUnknown('The answer to COMMIT was lost', { cause: error });
  });
  // An aborted transaction answers COMMIT with ROLLBACK and no error, so a swallowed failure would pass for success.
  if (command !== 'COMMIT') throw new Error('A phase swallowed an SQL error: the transaction was rolled back');
}
