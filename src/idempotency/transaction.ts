import type { DataSource, EntityManager } from 'typeorm';
import { isConflict, isDatabaseUnavailable, isRolledBack } from './database-errors.js';

/** What this module uses of a `pg` client. Below TypeORM, since only the raw result tells what COMMIT did. */
export interface SqlClient {
  /** Whether a statement is sent before the one ahead of it has been answered. */
  readonly pipeline?: boolean;
  readonly connection: { readonly stream: { cork(): void; uncork(): void; destroy(): unknown } };
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
  /** BEGIN has been answered. Await it before sending what must not be a transaction of its own. */
  readonly begun: Promise<unknown>;
}

export interface TransactionOptions<T> {
  /**
   * Sends the last statement, at once. COMMIT is sent right behind it, so it must fail by itself when the transaction is
   * not to be committed.
   */
  close?: (tx: Transaction, result: T) => Promise<unknown>;
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
 * The connection is cut when a transaction takes longer: a server that no longer answers must not hold a request for
 * ever. Longer than a sensible `statement_timeout`, so that a server that does answer speaks first. Never by pg's
 * `query_timeout`, which returns a connection with an open transaction to the pool.
 */
const LIMIT_MS = 15_000;

/**
 * READ COMMITTED whatever the server's default is: the protocol needs the statement after a lost race to see the winner.
 *
 * The protocol's statements are prepared once for each connection, with a plan that is kept. It is made without looking at
 * how long the lists are today, and never one that reads a whole table because that is small today.
 */
const BEGIN = `BEGIN ISOLATION LEVEL READ COMMITTED;
  SET LOCAL plan_cache_mode = force_generic_plan;
  SET LOCAL enable_seqscan = off`;

const ATTEMPTS = 3;

/**
 * Runs `work` in a transaction of its own and commits it.
 *
 * @throws CommitUnknown when COMMIT was sent and its answer was lost
 */
export async function inTransaction<T>(
  dataSource: DataSource,
  work: (tx: Transaction) => Promise<T>,
  { close, attempts = ATTEMPTS }: TransactionOptions<T> = {},
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await runOnce(dataSource, work, close);
    } catch (error) {
      if (attempt === attempts || !isConflict(error)) throw error;
    }
  }
}

async function runOnce<T>(
  dataSource: DataSource,
  work: (tx: Transaction) => Promise<T>,
  close: TransactionOptions<T>['close'],
): Promise<T> {
  const runner = dataSource.createQueryRunner();
  const sql = (await runner.connect()) as SqlClient;
  // Not by `end()`, which would wait for answers to what has been sent. The pool drops a client that was cut.
  const cut = () => void sql.connection.stream.destroy();
  const limit = setTimeout(cut, LIMIT_MS);
  const upToCommit = async () => {
    const begun = begin(sql);
    if (!sql.pipeline) await begun;
    // TypeORM's own start takes two statements. Told like this, save() joins, and a nested transaction() is a savepoint.
    Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
    const tx = { sql, manager: runner.manager, begun };
    const result = await work(tx);
    await begun;
    return { result, ...(await sendCommit(sql, close && (() => close(tx, result)))) };
  };
  try {
    const { result, closed, committed } = await upToCommit().catch(async (error: unknown) => {
      await sql.query('ROLLBACK').catch(cut);
      throw error;
    });
    await answerOf(closed, committed);
    return result;
  } finally {
    clearTimeout(limit);
    await runner.release();
  }
}

function begin(sql: SqlClient): Promise<unknown> {
  const { stream } = sql.connection;
  // What is sent in this turn of the event loop goes out in one write.
  stream.cork();
  process.nextTick(() => stream.uncork());
  const begun = sql.query(BEGIN);
  // Its failure is looked at later.
  begun.catch(() => undefined);
  return begun;
}

/** Sends the last statement and COMMIT, in one write where the client can, and waits for neither. */
async function sendCommit(sql: SqlClient, close?: () => Promise<unknown>) {
  if (!sql.pipeline) {
    await close?.();
    return { closed: undefined, committed: sql.query('COMMIT') };
  }
  const { stream } = sql.connection;
  stream.cork();
  try {
    const closed = close?.();
    // A statement that could not even be sent must not be followed by COMMIT: its failure is here by then.
    await Promise.race([closed, new Promise((resolve) => process.nextTick(resolve))]);
    return { closed, committed: sql.query('COMMIT') };
  } finally {
    stream.uncork();
  }
}

async function answerOf(closed: Promise<unknown> | undefined, committed: Promise<SqlResult>): Promise<void> {
  const [closing, committing] = await Promise.allSettled([closed, committed]);
  if (committing.status === 'rejected') {
    if (isRolledBack(committing.reason)) throw committing.reason;
    throw new CommitUnknown('The answer to COMMIT was lost', { cause: committing.reason });
  }
  if (closing.status === 'rejected') throw closing.reason;
  // An aborted transaction answers COMMIT with ROLLBACK and no error, so a swallowed failure would pass for success.
  if (committing.value.command !== 'COMMIT') {
    throw new Error('A phase swallowed an SQL error: the transaction was rolled back');
  }
}
