/** The lease of a claim. Duplicates in the same process also wait for at most this time. */
export const LEASE_MS = 2_000;
/** Longer than the lease, so that the requests of a frozen process are taken over. */
export const FREEZE_MS = 1.5 * LEASE_MS;
/** Longer than PostgreSQL takes to restart and recover on a busy machine. */
export const RECOVERY_MS = 60_000;
/**
 * How long to wait without an answer or any other progress: many times as long as a lease, a retry and a restart of the database take.
 * A busy machine must not exceed it, because an operation that is given up is a violation.
 */
export const PATIENCE_MS = 60_000;
/** How long the service waits for the bank. */
export const GATEWAY_TIMEOUT_MS = 1_000;
/** How long the bank remembers a key. Most charges are decided within a few leases, so few of them get older. */
export const KEY_LIFE_MS = 4 * LEASE_MS;
/** Longer than a statement takes on a machine that is busy with this run. */
export const STATEMENT_TIMEOUT_MS = 3_000;
/** Shorter than in production (12 s), so that a replica gives up a dead connection before a client gives up its request. */
export const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 1_000;
