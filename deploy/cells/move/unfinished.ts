import { CONSUMERS } from './account-tables.js';
import type { Sql } from './cell-database.js';

/** The work of an account that has begun and has not ended. */
export interface Unfinished {
  requests: number;
  /** Messages that are not published. */
  messages: number;
  /** Published messages that a consumer has neither processed nor given up. */
  deliveries: number;
  /** Those consumers. */
  consumers: readonly string[];
}

const CONCERNED = Object.entries(CONSUMERS).map(([name, condition]) => `('${name}', ${condition})`);

// $1 account, $2 counts only work that is older than this many seconds, $3 published messages since this many seconds
const UNFINISHED = `
  SELECT (SELECT count(*) FROM processed_requests
          WHERE account_id = $1 AND completed_at IS NULL AND created_at <= clock_timestamp() - make_interval(secs => $2))::int AS requests,
         (SELECT count(*) FROM outbox
          WHERE account_id = $1 AND published_at IS NULL AND created_at <= clock_timestamp() - make_interval(secs => $2))::int AS messages,
         deliveries, consumers
  FROM (SELECT count(*)::int AS deliveries, coalesce(array_agg(DISTINCT consumer), '{}') AS consumers
        FROM outbox m, LATERAL (VALUES ${CONCERNED.join()}) AS due (consumer, is_concerned)
        WHERE m.account_id = $1 AND is_concerned
          AND published_at > statement_timestamp() - make_interval(secs => $3)
          AND published_at <= clock_timestamp() - make_interval(secs => $2)
          AND NOT EXISTS (
            SELECT FROM processed_messages p
            WHERE p.account_id = m.account_id AND p.consumer = due.consumer AND p.message_id = m.id)
          AND NOT EXISTS (
            SELECT FROM failed_messages f
            WHERE f.account_id = m.account_id AND f.consumer = due.consumer AND f.message_id = m.id
              AND f.dead_at IS NOT NULL)) AS delivered`;

/**
 * @param olderThanSeconds counts only older work
 * @param publishedWithinSeconds ignores messages that were published earlier
 */
export async function unfinished(
  sql: Sql,
  account: string,
  { olderThanSeconds, publishedWithinSeconds }: { olderThanSeconds: number; publishedWithinSeconds: number },
): Promise<Unfinished> {
  const rows = await sql.query<Unfinished & Record<string, unknown>>(UNFINISHED, [
    account,
    olderThanSeconds,
    publishedWithinSeconds,
  ]);
  return rows[0] as Unfinished;
}

export const isNothing = ({ requests, messages, deliveries }: Unfinished) => requests + messages + deliveries === 0;

export const inWords = ({ requests, messages, deliveries, consumers }: Unfinished) =>
  `${requests} unfinished requests, ${messages} unpublished messages, ${deliveries} messages that a consumer has not processed${deliveries > 0 ? ` (${consumers.join(', ')})` : ''}`;
