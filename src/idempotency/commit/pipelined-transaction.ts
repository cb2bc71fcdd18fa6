import type { DataSource } from 'typeorm';
import {
  BEGIN,
  committed,
  runTransaction,
  type SqlClient,
  type SqlResult,
  type Transaction,
  type TransactionOptions,
} from '../../postgres/transaction.js';

/** The parts of a transaction whose statements are sent without waiting for the answer to the statement ahead. */
export interface PipelinedWork<Opened, Result> {
  /**
   * Sends the first statement right behind BEGIN, before BEGIN is answered. If BEGIN fails, PostgreSQL runs that statement in a transaction
   * of its own, so the statement must do nothing unless `IS_IN_TRANSACTION` holds.
   */
  open(sql: SqlClient): Promise<Opened>;
  /** Runs once BEGIN and the first statement have been answered, so that nothing it sends can run outside of the transaction. */
  work(tx: Transaction, opened: Opened): Promise<Result>;
  /**
   * Sends the last statements at once and returns their answers, in the order in which they were sent. COMMIT is sent right behind them, so
   * one of these statements must fail by itself if the transaction must not be committed.
   */
  close(tx: Transaction, result: Result): Promise<unknown>[];
}

/**
 * Commits like `inTransaction`, with two round trips less: BEGIN goes out with the first statement, and COMMIT with the last ones. A client
 * that cannot pipeline sends the same statements one after the other.
 *
 * @throws CommitUnknown if COMMIT was sent and its answer was lost
 */
export function inPipelinedTransaction<Opened, Result>(
  dataSource: DataSource,
  steps: PipelinedWork<Opened, Result>,
  options: TransactionOptions,
): Promise<Result> {
  return runTransaction(
    dataSource,
    async (tx) => {
      const opened = await sendBegin(tx.sql, (sql) => steps.open(sql));
      const result = await steps.work(tx, opened);
      await sendCommit(tx.sql, () => steps.close(tx, result));
      return result;
    },
    options,
  );
}

/**
 * Sends BEGIN and the first statement, in one write if the client pipelines.
 *
 * @returns the answer to the first statement
 * @throws the error of BEGIN rather than the error of the statement behind it, because the first one is the cause
 */
async function sendBegin<Opened>(sql: SqlClient, open: (sql: SqlClient) => Promise<Opened>): Promise<Opened> {
  if (!sql.pipeline) {
    await sql.query(BEGIN);
    return open(sql);
  }
  const { stream } = sql.connection;
  // Everything that is sent in this turn of the event loop goes out in one write.
  stream.cork();
  process.nextTick(() => stream.uncork());
  const [begun, opened] = await Promise.allSettled([sql.query(BEGIN), open(sql)]);
  if (begun.status === 'rejected') throw begun.reason;
  if (opened.status === 'rejected') throw opened.reason;
  return opened.value;
}

/** Sends the last statements and COMMIT, in one write if the client pipelines. Waits for all answers. */
async function sendCommit(sql: SqlClient, close: () => Promise<unknown>[]): Promise<void> {
  if (!sql.pipeline) {
    await Promise.all(close());
    return committed(sql.query('COMMIT'));
  }
  const { stream } = sql.connection;
  let closed: Promise<unknown>[];
  let answer: Promise<SqlResult>;
  stream.cork();
  try {
    closed = close();
    // COMMIT must not follow a statement that could not even be sent. `pg` reports such a statement in the next tick, and the promises
    // that depend on it are rejected one tick later.
    await Promise.race([Promise.all(closed), nextTick().then(nextTick)]);
    answer = sql.query('COMMIT');
  } finally {
    stream.uncork();
  }
  const [closing, [ending]] = await Promise.all([Promise.allSettled(closed), Promise.allSettled([answer])]);
  // The first error is the cause, because PostgreSQL refuses every later statement of the transaction. If the answer to COMMIT is missing,
  // however, it is unknown whether the transaction was committed, and that matters more than the first error.
  const failed = closing.find(({ status }) => status === 'rejected');
  if (ending.status === 'fulfilled' && failed?.status === 'rejected') throw failed.reason;
  await committed(answer);
}

const nextTick = () => new Promise<void>((resolve) => process.nextTick(resolve));
