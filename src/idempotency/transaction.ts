import { setImmediate as nextTurn } from 'node:timers/promises';
import type { DataSource, EntityManager } from 'typeorm';
import { isConflict, isRolledBack } from './database-errors.js';

/** What this module uses of a `pg` client. Below TypeORM, since only the raw result tells what COMMIT did. */
export interface SqlClient {
  /** Whether a statement is sent before the one ahead of it has been answered. */
  readonly pipeline?: boolean;
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
  /** BEGIN has been answered. Await it before sending what must not be a transaction of its own. */
  readonly begun: Promise<unknown>;
}

export interface TransactionOptions<T> {
  /**
   * The last statement. COMMIT is sent right behind it, so it must fail by itself when the transaction is not to be
   * committed.
   */
  close?: (tx: Transaction, result: T) => Promise<unknown>;
  /** How often work that only lost a race (deadlock, serialization failure) is run in all. */
  attempts?: number;
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
  try {
    const begun = begin(sql);
    if (!sql.pipeline) await begun;
    // TypeORM's own start takes two statements. Told like this, save() joins, and a nested transaction() is a savepoint.
    Object.assign(runner, { isTransactionActive: true, transactionDepth: 1 });
    const { result, closed } = await upToCommit({ sql, manager: runner.manager, begun }, work, close).catch(
      async (error: unknown) => {
        await sql.query('ROLLBACK').catch(cut);
        throw error;
      },
    );
    await commit(sql, closed);
    return result;
  } finally {
    clearTimeout(limit);
    await runner.release();
  }
}

function begin(sql: SqlClient): Promise<unknown> {
  const begun = sql.query(BEGIN);
  // Looked at before COMMIT.
  begun.catch(() => undefined);
  return begun;
}

async function upToCommit<T>(
  tx: Transaction,
  work: (tx: Transaction) => Promise<T>,
  close: TransactionOptions<T>['close'],
): Promise<{ result: T; closed: Promise<unknown> | undefined }> {
  const result = await work(tx);
  await tx.begun;
  const closed = close?.(tx, result);
  // In a pipeline its verdict comes later, but one that could not even be sent must not be followed by COMMIT.
  await (tx.sql.pipeline ? Promise.race([closed, nextTurn()]) : closed);
  return { result, closed };
}

async function commit(sql: SqlClient, closed: Promise<unknown> | undefined): Promise<void> {
  const [closing, committing] = await Promise.allSettled([closed, sql.query('COMMIT')]);
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
