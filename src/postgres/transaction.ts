import type { DataSource, EntityManager } from 'typeorm';
import {
  EXPECTED_POOLER,
  isConflict,
  isConnectionUseless,
  isDatabaseUnavailable,
  isForeignSession,
  isOutdated,
  isRolledBack,
  isUnreplicated,
} from './database-errors.js';
import { AWAIT_STANDBYS } from './replication.js';

/** The part of a `pg` client that is used here. TypeORM hides the raw answer, and only the raw answer to COMMIT says what COMMIT did. */
export interface SqlClient {
  /** Whether the client sends a statement before the server has answered the statement ahead of it. */
  readonly pipeline?: boolean;
  readonly connection: { readonly stream: SqlStream };
  query(statement: { name?: string; text: string; values: unknown[] } | string): Promise<SqlResult>;
  on(event: 'notice', listener: (notice: object) => void): unknown;
  off(event: 'notice', listener: (notice: object) => void): unknown;
}

/** The part of a client's socket that is used here. */
interface SqlStream {
  readonly closed: boolean;
  cork(): void;
  uncork(): void;
  destroy(): unknown;
  once(event: 'close', listener: () => void): unknown;
}

export interface SqlResult {
  command: string;
  rowCount: number | null;
  rows: Record<string, unknown>[];
}

/** An open transaction on one connection: `sql` for the protocol's own statements, `manager` for everything else. */
export interface Transaction {
  readonly sql: SqlClient;
  readonly manager: EntityManager;
}

export interface TransactionOptions {
  /** Maximum number of times that the work is run if it loses a race (deadlock, serialization failure). */
  attempts?: number;
}

/**
 * It is unknown whether COMMIT has succeeded, for one of two reasons. Its answer was lost, and only reading the rows shows whether the transaction
 * was committed. Or PostgreSQL has committed, but has stopped waiting for its standbys, so a failover may lose the transaction.
 */
export class CommitUnknown extends Error {
  override readonly name = 'CommitUnknown';
}

/** Whether the database was unavailable, or it is unknown whether COMMIT has succeeded. The same request may succeed later. */
export const isOutage = (error: unknown) => error instanceof CommitUnknown || isDatabaseUnavailable(error);

/**
 * Milliseconds after which the connection of a transaction is cut, because a server that no longer answers must not hold a request
 * forever. The limit is longer than a sensible `statement_timeout`, so that a server that does answer reports its own error first.
 *
 * The setting `query_timeout` does not replace this limit: it bounds each statement and not the transaction, and a data source may lack it.
 */
const LIMIT_MS = 15_000;

/** Maximum number of times that work is run if it loses a race. */
const ATTEMPTS = 3;

/**
 * An SQL condition that is true only between BEGIN and the end of the transaction, because a setting that is made with SET LOCAL ends with
 * its transaction. If BEGIN fails, the setting is missing (NULL) or empty.
 */
export const IS_IN_TRANSACTION = `current_setting('idempotency.in_transaction', true) = 'on'`;

/**
 * Begins a transaction at READ COMMITTED and not at the server's default, because a statement after a lost race must see the row of the
 * winner.
 *
 * The protocol's statements are prepared once for each connection, and PostgreSQL keeps their plans. A generic plan does not depend on the
 * length of the first lists, and without sequential scans it does not read a whole table only because the table is still small.
 *
 * PostgreSQL reports only by a warning that it has stopped waiting for a standby, so warnings must be sent.
 */
export const BEGIN = `BEGIN ISOLATION LEVEL READ COMMITTED;
  SET LOCAL plan_cache_mode = force_generic_plan;
  SET LOCAL enable_seqscan = off;
  SET LOCAL client_min_messages = warning;
  SET LOCAL idempotency.in_transaction = on`;

/**
 * Runs `work` in a transaction and commits it.
 *
 * @returns the result of `work`, once PostgreSQL has confirmed the commit
 * @throws CommitUnknown if it is unknown whether COMMIT has succeeded; every other error means that nothing was committed
 */
export function inTransaction<T>(
  dataSource: DataSource,
  work: (tx: Transaction) => Promise<T>,
  options: TransactionOptions = {},
): Promise<T> {
  return runTransaction(
    dataSource,
    async (tx) => {
      await tx.sql.query(BEGIN);
      const result = await work(tx);
      await committed(tx.sql.query('COMMIT'));
      return result;
    },
    options,
  );
}

/**
 * Runs one statement that writes, as a transaction of its own, which saves the round trips of BEGIN and COMMIT. `DataSource.query` would
 * return a useless connection to the pool, and would not notice that PostgreSQL has stopped waiting for a standby.
 *
 * @param name prepares the statement once for each connection, if given. Only for a frequent statement whose plan cannot age.
 * @returns the rows of the statement
 */
export async function runStatement<Row extends object>(
  dataSource: DataSource,
  text: string,
  values: unknown[],
  name?: string,
): Promise<Row[]> {
  const { rows, rowCount } = await runTransaction(dataSource, ({ sql }) => sql.query({ name, text, values }));
  // A statement that changed nothing did not wait for the standbys. A later commit waits for everything that the statement has read.
  if (rowCount === 0) await runTransaction(dataSource, ({ sql }) => sql.query(`SELECT ${AWAIT_STANDBYS}`));
  return rows as Row[];
}

/**
 * Lends a connection to `steps`, which must send BEGIN, the work and COMMIT. If `steps` throws, the transaction is rolled back. If the
 * transaction has only lost a race, `steps` runs again.
 */
export async function runTransaction<T>(
  dataSource: DataSource,
  steps: (tx: Transaction) => Promise<T>,
  { attempts = ATTEMPTS }: TransactionOptions = {},
): Promise<T> {
  for (let failures = 0; ;) {
    try {
      return await runOnce(dataSource, steps);
    } catch (error) {
      // This failure does not count as an attempt, because the work is not the cause. The loop ends, because every such failure removes
      // a connection that is older than the schema from the pool.
      if (isOutdated(error)) continue;
      if (++failures === attempts || !isConflict(error)) throw error;
    }
  }
}

async function runOnce<T>(dataSource: DataSource, steps: (tx: Transaction) => Promise<T>): Promise<T> {
  const runner = dataSource.createQueryRunner();
  const sql = (await runner.connect()) as SqlClient;
  const limit = setTimeout(() => void cut(sql), LIMIT_MS);
  // With these two fields set, save() joins the transaction, and a nested transaction() is a savepoint. TypeORM's own
  // startTransaction() would send two statements more.
  Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
  let isReplicated = true;
  const onNotice = (notice: object) => void (isReplicated &&= !isUnreplicated(notice));
  sql.on('notice', onNotice);
  try {
    const result = await steps({ sql, manager: runner.manager });
    if (!isReplicated) throw new CommitUnknown('PostgreSQL has stopped waiting for a standby');
    return result;
  } catch (error) {
    if (isConnectionUseless(error)) await cut(sql);
    // ROLLBACK is sent after a failed COMMIT too, because PostgreSQL leaves the transaction open if COMMIT itself was cancelled. The
    // invariant: no connection goes back to the pool within a transaction.
    else await sql.query('ROLLBACK').catch(() => cut(sql));
    throw isForeignSession(error)
      ? new Error(`The pooler has lent the session of another client: ${EXPECTED_POOLER}`, { cause: error })
      : error;
  } finally {
    clearTimeout(limit);
    sql.off('notice', onNotice);
    await runner.release();
  }
}

/**
 * Destroys the connection. Resolves when `pg` has seen the end of the connection, so that the pool drops the client instead of lending it
 * again. The client's `end()` would wait for the answers to all statements that have been sent.
 */
function cut({ connection: { stream } }: SqlClient): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) return resolve();
    stream.once('close', resolve);
    stream.destroy();
  });
}

/**
 * Waits until COMMIT is answered.
 *
 * @throws CommitUnknown if the answer was lost; the server's error if the server has rolled back
 */
export async function committed(commit: Promise<SqlResult>): Promise<void> {
  const { command } = await commit.catch((error: unknown) => {
    throw isRolledBack(error) ? error : new CommitUnknown('The answer to COMMIT was lost', { cause: error });
  });
  // PostgreSQL answers the COMMIT of an aborted transaction with ROLLBACK and without an error. If a phase has swallowed the error that
  // aborted the transaction, this check finds it.
  if (command !== 'COMMIT') throw new Error('A phase swallowed an SQL error, so the transaction was rolled back');
}
