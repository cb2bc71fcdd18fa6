/** The SQLSTATE of an error, see Appendix A of PostgreSQL's manual; `undefined` if the error does not come from the server. */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/**
 * Whether the transaction has only lost a race, so that it may be run again: serialization_failure, deadlock_detected, not_null_violation. A statement
 * inserts a NULL on purpose if another transaction has changed a row since the statement read it.
 */
export const isConflict = (error: unknown) => ['40001', '40P01', '23502'].includes(sqlState(error) ?? '');

/** Whether another transaction has held the row for longer than `lock_timeout`: lock_not_available. */
export const isLockTimeout = (error: unknown) => sqlState(error) === '55P03';

/**
 * Whether a migration has changed the columns of a statement that this connection had already prepared: feature_not_supported. The statement
 * always fails on this connection from then on, because `pg` never prepares a statement again. The check reads the name of the function of
 * PostgreSQL that raised the error, because other errors have the same code, and the message is translated.
 */
export const isOutdated = (error: unknown) =>
  sqlState(error) === '0A000' && (error as { routine?: unknown }).routine === 'RevalidateCachedQuery';

/**
 * Whether the session cannot write: read_only_sql_transaction. A session keeps the default with which it began, so a connection that was
 * opened while the server was read-only may stay read-only when new connections can write.
 */
export const isReadOnly = (error: unknown) => sqlState(error) === '25006';

/** Whether the next statement would fail in the same way on this connection and would succeed on a new one, so the connection must be closed. */
export const isConnectionUseless = (error: unknown) => isOutdated(error) || isReadOnly(error);

/**
 * Whether the session has a prepared statement of another client, or lacks one of this client: duplicate_prepared_statement and
 * invalid_sql_statement_name. The cause is a pooler that lends sessions without their prepared statements, because nothing else
 * prepares or forgets statements on a connection of this service.
 */
export const isForeignSession = (error: unknown) => ['42P05', '26000'].includes(sqlState(error) ?? '');

/** The remedy for {@link isForeignSession}. */
export const EXPECTED_POOLER =
  'expected a pooler that keeps the prepared statements of its clients apart, such as PgBouncer 1.21 or later with max_prepared_statements';

/**
 * Whether PostgreSQL warns that it no longer waits for a standby, because the wait was cancelled. PostgreSQL then answers COMMIT as usual,
 * although a failover may lose the transaction. The check reads the name of PostgreSQL's function, because servers may translate the message.
 */
export const isUnreplicated = (notice: unknown) => (notice as { routine?: unknown }).routine === 'SyncRepWaitForLSN';

/**
 * Whether the server itself reports that this COMMIT has failed: a deferred constraint (23), or a rollback (40, except 40003,
 * statement_completion_unknown). Any other error, such as a shutdown, may have happened after the commit.
 */
export const isRolledBack = (error: unknown) => /^(23|40(?!003))/.test(sqlState(error) ?? '');

// 08 connection, 53 resources, 57 shutdown or statement_timeout, 25P03 and 25P04 a transaction that was open too long, 55P03 lock_timeout,
// 25006 a standby that is not promoted yet. 28, 3D000 and 55000: the server refuses every connection, for example while a password, a
// certificate or the whole database is being replaced; no statement of this service fails with these states. 40001 and 40P01: the
// transaction lost a race at every attempt, because the database is too busy. 42P05 and 26000: a pooler has lent a foreign session.
const UNAVAILABLE_STATE = /^(08...|53...|57...|40001|40P01|25P03|25P04|55P03|25006|28...|3D000|55000|42P05|26000)$/;
// ENOENT: the Unix socket is missing while the server restarts. The last three: this process has no file descriptor or port left.
const UNAVAILABLE_CODE = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENET|ENOENT|EMFILE|ENFILE|EADDRNOTAVAIL)/;
// Errors of pg, pg-pool and TypeORM that have no code.
const UNAVAILABLE_MESSAGE =
  /connection terminated|timeout exceeded when trying to connect|not queryable|query runner .*released|pool after calling end|connection ended|not yet connected|query read timeout/i;

/** Whether the connection itself is lost, so that every statement on it fails and none of them is the cause. */
export function isConnectionLost(error: unknown): boolean {
  const state = sqlState(error);
  return state ? /^(08|28|3D|53|55000|57P|25P0[34])/.test(state) : isDatabaseUnavailable(error);
}

/** Whether the database is unavailable. The same statement may succeed later. */
export function isDatabaseUnavailable(error: unknown): boolean {
  // Checks the shape and not the class, because an error of another realm, such as a test runner's, is not an instance of `Error` here.
  if (typeof error !== 'object' || error === null) return false;
  const state = sqlState(error);
  if (state) return UNAVAILABLE_STATE.test(state);
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  return (
    UNAVAILABLE_CODE.test(String(code)) || UNAVAILABLE_MESSAGE.test(String(message)) || isDatabaseUnavailable(cause)
  );
}

/** The constraint that a write breaks if its account is being moved to another database. `deploy/cells` adds it for the time of the move. */
export const ACCOUNT_MOVING = 'account_moving';

/** Whether this database does not accept the write, because its account is being moved or has been moved to another database: check_violation. */
export const isAccountMoving = (error: unknown) =>
  sqlState(error) === '23514' && (error as { constraint?: unknown }).constraint === ACCOUNT_MOVING;
