/** Numbers of charges, captures and idempotency keys in a database. */
export interface Effects {
  /** Charges, by status. */
  succeeded: number;
  failed: number;
  pending: number;
  /** Captures of the simulated bank. */
  captures: number;
  /** Idempotency keys, with and without a recorded reply. */
  completed: number;
  in_progress: number;
}

/** Runs one statement and returns its rows. */
export type RunSql = <Row extends Record<string, unknown>>(text: string, values?: unknown[]) => Promise<Row[]>;

// PostgreSQL plans an unnamed statement for its values, so a condition on a missing account costs nothing.
const OF_ACCOUNT = '($1::text IS NULL OR account_id = $1)';
const COUNT_EFFECTS = `
  SELECT (SELECT count(*)::int FROM charges WHERE status = 'succeeded' AND ${OF_ACCOUNT}) AS succeeded,
         (SELECT count(*)::int FROM charges WHERE status = 'failed' AND ${OF_ACCOUNT}) AS failed,
         (SELECT count(*)::int FROM charges WHERE status = 'pending' AND ${OF_ACCOUNT}) AS pending,
         (SELECT count(*)::int FROM bank.captures WHERE ${OF_ACCOUNT}) AS captures,
         (SELECT count(*)::int FROM processed_requests
          WHERE completed_at IS NOT NULL AND created_at > $2::timestamptz AND ${OF_ACCOUNT}) AS completed,
         (SELECT count(*)::int FROM processed_requests WHERE completed_at IS NULL AND ${OF_ACCOUNT}) AS in_progress`;

/**
 * Counts all effects in a database, or those of one account.
 *
 * @param completedSince counts only completed keys that were created later: a point in time, as PostgreSQL writes it
 */
export async function countEffects(
  sql: RunSql,
  { accountId, completedSince = '-infinity' }: { accountId?: string; completedSince?: string } = {},
): Promise<Effects> {
  const [effects] = await sql<Effects & Record<string, unknown>>(COUNT_EFFECTS, [accountId, completedSince]);
  if (!effects) throw new Error('A SELECT without FROM returned no row');
  return effects;
}
