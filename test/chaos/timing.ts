/** How long a request has its key to itself. In a process, those that ask for the same wait for it for as long. */
export const LEASE_MS = 2_000;
/** Past the lease of whatever a process was at. */
export const FREEZE_MS = 1.5 * LEASE_MS;
/** A database that has not recovered by then is not coming back. */
export const RECOVERY_MS = 60_000;
/**
 * Without an answer or any other progress, after which none is expected: a lease, a retry and a restart of the database, many
 * times over. It has to outlast a busy machine, since what is given up on is a violation.
 */
export const PATIENCE_MS = 60_000;
/** How long the bank may take. */
export const GATEWAY_TIMEOUT_MS = 1_000;
/** Longer than a statement takes on a machine that is busy with all of this. */
export const STATEMENT_TIMEOUT_MS = 3_000;
/** Shorter than in production (12 s), so that a replica has given up its dead connections before a client gives up its request. */
export const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 1_000;
