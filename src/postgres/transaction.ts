import type { DataSource, EntityManager } from 'typeorm';
import { isConflict, isDatabaseUnavailable, isOutdated, isReadOnly, isRolledBack } from './database-errors.js';

/** What this module uses of a `pg` client. Below TypeORM, since only the raw result tells what COMMIT did. */
export interface SqlClient {
  /** Whether a statement is sent before the one ahead of it has been answered. */
  readonly pipeline?: boolean;
  readonly connection: { readonly stream: SqlStream };
  query(statement: { name?: string; text: string; values: unknown[] } | string): Promise<SqlResult>;
}

/** What this module uses of a client's socket. */
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

/** An open transaction: one connection, seen raw (for protocol rows) and as TypeORM's manager (for yours). */
export interface Transaction {
  readonly sql: SqlClient;
  readonly manager: EntityManager;
}

export interface TransactionOptions<T, Opened> {
  /**
   * Sends the first statement right behind BEGIN, before BEGIN is answered. If BEGIN fails, PostgreSQL runs that statement in a
   * transaction of its own, so the statement must do nothing unless {@link IS_IN_TRANSACTION} holds.
   */
  open?: (sql: SqlClient) => Promise<Opened>;
  /**
   * Sends the last statements at once and returns their answers, in the order in which they were sent. COMMIT is sent right
   * behind them, so one of them must fail by itself if the transaction must not be committed.
   */
  close?: (tx: Transaction, result: T) => Promise<unknown>[];
  /** How often work that only lost a race (deadlock, serialization failure) is run in all. */
  attempts?: number;
}

/** The server may or may not have committed: only the key itself can tell. */
export class CommitUnknown extends Error {
  override readonly name = 'CommitUnknown';
}

/** The database could not do it, or has not said whether it has: the same may well succeed later. */
export const isOutage = (error: unknown) => error instanceof CommitUnknown || isDatabaseUnavailable(error);

/**
 * The connection is cut if a transaction takes longer, because a server that no longer answers must not hold a request
 * forever. Longer than a sensible `statement_timeout`, so that a server that does answer reports its own error first. It bounds
 * all statements of a transaction together, and it also works for a data source without `query_timeout`, which bounds each.
 */
const LIMIT_MS = 15_000;

/**
 * Holds between BEGIN and the end of the transaction, and nowhere else: a setting that is made with SET LOCAL ends with its
 * transaction. If BEGIN fails, the setting is missing (NULL) or empty.
 */
export const IS_IN_TRANSACTION = `current_setting('idempotency.in_transaction', true) = 'on'`;

/**
 * READ COMMITTED whatever the server's default is: the protocol needs the statement after a lost race to see the winner.
 *
 * The protocol's statements are prepared once for each connection, with a plan that is kept. It is made without looking at
 * how long the lists are today, and never one that reads a whole table because that is small today.
 */
const BEGIN = `BEGIN ISOLATION LEVEL READ COMMITTED;
  SET LOCAL plan_cache_mode = force_generic_plan;
  SET LOCAL enable_seqscan = off;
  SET LOCAL idempotency.in_transaction = on`;

const ATTEMPTS = 3;

/**
 * Runs `work` in a transaction of its own and commits it. `work` begins when BEGIN has been answered, so nothing that `work` sends
 * can become a transaction of its own. It also gets the answer to the statement of `open`.
 *
 * @throws CommitUnknown when COMMIT was sent and its answer was lost
 */
export async function inTransaction<T, Opened = undefined>(
  dataSource: DataSource,
  work: (tx: Transaction, opened: Opened) => Promise<T>,
  { attempts = ATTEMPTS, ...options }: TransactionOptions<T, Opened> = {},
): Promise<T> {
  for (let lost = 0; ;) {
    try {
      return await runOnce(dataSource, work, options);
    } catch (error) {
      // Does not count, because it says nothing about the work. It ends, because each time a connection that is older than the schema
      // has left the pool.
      if (isOutdated(error)) continue;
      if (++lost === attempts || !isConflict(error)) throw error;
    }
  }
}

async function runOnce<T, Opened>(
  dataSource: DataSource,
  work: (tx: Transaction, opened: Opened) => Promise<T>,
  { open, close }: TransactionOptions<T, Opened>,
): Promise<T> {
  const runner = dataSource.createQueryRunner();
  const sql = (await runner.connect()) as SqlClient;
  const limit = setTimeout(() => void cut(sql), LIMIT_MS);
  try {
    const opened = await begin(sql, open);
    // TypeORM's own start takes two statements. With these two fields set, save() joins, and a nested transaction() is a savepoint.
    Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
    const tx = { sql, manager: runner.manager };
    const result = await work(tx, opened);
    await commit(sql, () => close?.(tx, result) ?? []);
    return result;
  } catch (error) {
    // The next transaction would fail alike on this connection, and work on a new one.
    if (isOutdated(error) || isReadOnly(error)) await cut(sql);
    // Also after a COMMIT that failed: PostgreSQL leaves the transaction open if COMMIT itself was cancelled. The invariant: no
    // connection goes back to the pool within a transaction.
    else await sql.query('ROLLBACK').catch(() => cut(sql));
    throw error;
  } finally {
    clearTimeout(limit);
    await runner.release();
  }
}

/**
 * Ends the connection, and resolves when `pg` knows, so that the pool drops the client instead of lending it again. Not by `end()`,
 * which would wait for answers to what has been sent.
 */
function cut({ connection: { stream } }: SqlClient): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) return resolve();
    stream.once('close', resolve);
    stream.destroy();
  });
}

/**
 * Sends BEGIN and the first statement, in one write where the client can.
 *
 * @returns the answer to the first statement
 * @throws the error of BEGIN rather than that of the statement behind it, because the first one is the cause
 */
async function begin<Opened>(sql: SqlClient, open?: (sql: SqlClient) => Promise<Opened>): Promise<Opened> {
  if (!sql.pipeline) {
    await sql.query(BEGIN);
    return (await open?.(sql)) as Opened;
  }
  const { stream } = sql.connection;
  // What is sent in this turn of the event loop goes out in one write.
  stream.cork();
  process.nextTick(() => stream.uncork());
  const [begun, opened] = await Promise.allSettled([sql.query(BEGIN), open?.(sql)]);
  if (begun.status === 'rejected') throw begun.reason;
  if (opened.status === 'rejected') throw opened.reason;
  return opened.value as Opened;
}

/** Sends the last statements and COMMIT, in one write where the client can, and waits for all answers. */
async function commit(sql: SqlClient, close: () => Promise<unknown>[]): Promise<void> {
  if (!sql.pipeline) {
    await Promise.all(close());
    return answerOf([], sql.query('COMMIT'));
  }
  const { stream } = sql.connection;
  let closed: Promise<unknown>[];
  let committed: Promise<SqlResult>;
  stream.cork();
  try {
    closed = close();
    // A statement that could not even be sent must not be followed by COMMIT. pg reports such a statement in the next tick, and the
    // promises that depend on it have heard of it one tick later.
    await Promise.race([Promise.all(closed), nextTick().then(nextTick)]);
    committed = sql.query('COMMIT');
  } finally {
    stream.uncork();
  }
  return answerOf(closed, committed);
}

const nextTick = () => new Promise<void>((resolve) => process.nextTick(resolve));

async function answerOf(closed: Promise<unknown>[], committed: Promise<SqlResult>): Promise<void> {
  const [closing, [committing]] = await Promise.all([Promise.allSettled(closed), Promise.allSettled([committed])]);
  if (committing.status === 'rejected') {
    if (isRolledBack(committing.reason)) throw committing.reason;
    throw new CommitUnknown('The answer to COMMIT was lost', { cause: committing.reason });
  }
  // The first that failed is the cause: PostgreSQL refuses whatever comes behind it in the same transaction.
  const failed = closing.find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
  // An aborted transaction answers COMMIT with ROLLBACK and no error, so a swallowed failure would pass for success.
  if (committing.value.command !== 'COMMIT') {
    throw new Error('A phase swallowed an SQL error: the transaction was rolled back');
  }
}
