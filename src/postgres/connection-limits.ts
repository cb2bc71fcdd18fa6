/** A statement of the protocol takes less than a hundredth of this time. */
const STATEMENT_TIMEOUT_MS = 10_000;

/**
 * Limits of a connection in milliseconds, for the option `extra` of a TypeORM data source. With them, a process that is frozen blocks rows
 * for seconds only. PostgreSQL enforces all of them except `query_timeout`.
 */
export const CONNECTION_LIMITS = {
  /** If a statement waits longer than this for a row lock, the process that holds the lock is assumed to be frozen, not busy. */
  lock_timeout: 2_000,
  statement_timeout: STATEMENT_TIMEOUT_MS,
  /**
   * Maximum time that a process which freezes within a transaction blocks its rows.
   *
   * The limit holds while PostgreSQL waits for the next statement, and while PostgreSQL waits for the process to read an answer. Only TCP can end
   * the second wait, because a backend does not check its own timeouts while it sends. The answer of a claim fits into the socket buffers, but a
   * phase may read hundreds of rows while it holds its locks.
   */
  idle_in_transaction_session_timeout: 5_000,
  /**
   * Maximum time that pg waits for the answer to a statement. After this time the connection counts as lost, because a network can drop a
   * connection without a notice. pg then destroys the connection, because `pipeline` is on. Longer than the statement timeout, so that a
   * server that is still connected reports its own error first.
   */
  query_timeout: STATEMENT_TIMEOUT_MS + 2_000,
  /** Statements that need not wait for each other share a round trip. Without it, `query_timeout` would not destroy the connection. */
  pipeline: true,
} as const;
