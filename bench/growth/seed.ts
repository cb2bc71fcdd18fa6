import { createHash } from 'node:crypto';
import type { BenchDatabase } from '../database.js';
import { Progress } from '../../harness/progress.js';

/** Rows of one INSERT, which takes a second or two. */
const CHUNK_ROWS = 50_000;
/** Number of accounts besides acct_demo, which has a tenth of all keys. */
const ACCOUNTS = 5_000;

/** Completed keys, spread evenly over an age. */
export interface SeededKeys {
  count: number;
  oldestHours: number;
  youngestHours: number;
}

/**
 * Inserts recorded keys as the service would have written them, the oldest first, and then vacuums the table as autovacuum would do.
 */
export async function seedKeys(
  database: BenchDatabase,
  { count, oldestHours, youngestHours }: SeededKeys,
): Promise<void> {
  const progress = new Progress(count);
  const fingerprint = createHash('sha256').update('seeded').digest();
  for (let from = 0; from < count; from += CHUNK_ROWS) {
    const to = Math.min(count, from + CHUNK_ROWS);
    progress.show(`inserting ${count.toLocaleString('en')} recorded keys`, from);
    await database.sql(SEED, [from, to - 1, count, ACCOUNTS, fingerprint, oldestHours, youngestHours]);
  }
  progress.show('VACUUM ANALYZE', count);
  await database.sql('VACUUM (ANALYZE) processed_requests');
  await database.countKeysFromNow();
}

// $1 first, $2 last, $3 count, $4 accounts, $5 fingerprint, $6 oldest h, $7 youngest h
const SEED = `
  WITH seeded AS (
    SELECT CASE WHEN n % 10 = 0 THEN 'acct_demo' ELSE 'acct_' || (random() * $4::int)::int END AS account_id,
           gen_random_uuid() AS request_id,
           clock_timestamp() - make_interval(secs => 3600 * ($6::float8 - ($6::float8 - $7::float8) * n / $3::float8)) AS created_at
    FROM generate_series($1::int, $2::int) AS n
  )
  INSERT INTO processed_requests (account_id, idempotency_key, request_id, operation, fingerprint, lock_token,
                                  response_status, response_headers, response_body, created_at, completed_at)
  SELECT account_id, gen_random_uuid()::text, request_id, 'POST /charges', $5, gen_random_uuid(),
         200, '{"content-type": "application/json; charset=utf-8"}',
         json_build_object('id', 'ch_' || replace(request_id::text, '-', ''), 'object', 'charge', 'amount', 1999,
           'currency', 'eur', 'status', 'succeeded', 'decline_code', NULL, 'source', 'tok_visa', 'order_id', NULL,
           'description', NULL, 'metadata', '{}'::json, 'created_at', created_at)::text,
         created_at, created_at
  FROM seeded`;
