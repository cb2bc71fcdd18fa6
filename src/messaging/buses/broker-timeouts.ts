/**
 * Milliseconds in which a broker must confirm a batch. The relay holds row locks during that time, and PostgreSQL ends a transaction
 * that is idle for 5 s.
 */
export const PUBLISH_TIMEOUT_MS = 3_000;

/** Milliseconds in which a broker must confirm that a channel or connection is closed. An unavailable broker never confirms. */
export const CLOSE_TIMEOUT_MS = 2_000;
