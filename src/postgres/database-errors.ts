/**
 * What an error of PostgreSQL or of the connection to it means for a request. SQLSTATE classes are those of
 * PostgreSQL's Appendix A.
 */
export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** The transaction only lost a race and may be run again: serialization_failure, deadlock_detected. */
export const isConflict = (error: unknown) => ['40001', '40P01'].includes(sqlState(error) ?? '');

/** Somebody else holds the row for longer than `lock_timeout`: lock_not_available. */
export const isLockTimeout = (error: unknown) => sqlState(error) === '55P03';

/**
 * A migration has changed what a prepared statement returns, and this connection has prepared it before: feature_not_supported. It fails
 * on this connection from now on, because `pg` never prepares a statement anew. By the name of a function of PostgreSQL, since
 * the code says less and the message is translated.
 */
export const isOutdated = (error: unknown) =>
  sqlState(error) === '0A000' && (error as { routine?: unknown }).routine === 'RevalidateCachedQuery';

/**
 * The session cannot write: read_only_sql_transaction. Sessions keep the default that they began with, so a connection that was made
 * before the server could be written to may stay read-only when new ones are not.
 */
export const isReadOnly = (error: unknown) => sqlState(error) === '25006';

/**
 * The server itself says that this COMMIT failed: a deferred constraint (23), a rollback (40, but for 40003,
 * statement_completion_unknown). Anything else, such as a shutdown, may have come after the commit.
 */
export const isRolledBack = (error: unknown) => /^(23|40(?!003))/.test(sqlState(error) ?? '');

// 08 connection, 53 resources, 57 shutdown or statement_timeout, 25P03 idle too long, 55P03 lock_timeout,
// 25006 a standby that is not promoted yet. 28, 3D000 and 55000 a server that lets nobody in, as while a password, a certificate or the
// whole database is replaced: no statement of ours fails with these.
// A race that was lost on every try (40001, 40P01) is a database that is too busy.
const UNAVAILABLE_STATE = /^(08...|53...|57...|40001|40P01|25P03|25P04|55P03|25006|28...|3D000|55000)$/;
// ENOENT is the Unix socket of a server that is being restarted, and the last three are a process without a file or a port to spare.
const UNAVAILABLE_CODE = /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EHOST|ENET|ENOENT|EMFILE|ENFILE|EADDRNOTAVAIL)/;
// pg, pg-pool and TypeORM give these no code.
const UNAVAILABLE_MESSAGE =
  /connection terminated|timeout exceeded when trying to connect|not queryable|query runner .*released|pool after calling end|connection ended|not yet connected|query read timeout/i;

/** There is no connection any more, whatever was sent on it: not the doing of one statement. */
export function isConnectionLost(error: unknown): boolean {
  const state = sqlState(error);
  return state ? /^(08|28|3D|53|55000|57P|25P0[34])/.test(state) : isDatabaseUnavailable(error);
}

/** The database cannot be reached or cannot serve now; the same statement may well succeed later. */
export function isDatabaseUnavailable(error: unknown): boolean {
  // By its shape rather than its class: errors of another realm, such as a test runner's, are no instances of ours.
  if (typeof error !== 'object' || error === null) return false;
  const state = sqlState(error);
  if (state) return UNAVAILABLE_STATE.test(state);
  const { code, message, cause } = error as { code?: unknown; message?: unknown; cause?: unknown };
  return (
    UNAVAILABLE_CODE.test(String(code)) || UNAVAILABLE_MESSAGE.test(String(message)) || isDatabaseUnavailable(cause)
  );
}
