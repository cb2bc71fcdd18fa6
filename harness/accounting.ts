import { strict as assert } from 'node:assert';
import type { RunSql } from './effects.js';
import { type Acknowledgement, Load, type LoadOptions, STOCK } from './load.js';

/** The result of comparing acknowledged requests with a database. Every number but `acknowledged` must be 0. */
export interface Comparison {
  acknowledged: number;
  /** Acknowledged requests without their recorded reply, or without their effect. */
  lost: number;
  /** Second charges of one request, captures without a successful charge, and stock that was taken without an order. */
  doubled: number;
  /** Recorded replies that differ from the reply that the client received. */
  differing: number;
}

/** The id of a charge, which is also the key that the bank received, in the client's reply: of a success, or of a declined card. */
const CHARGE_ID = `coalesce(body::jsonb->>'charge_id', body::jsonb->>'id')`;

const LOST_AND_DIFFERING = `
  WITH acknowledged AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS a ("accountId" text, key text, path text, status int, body text)
  ), compared AS (
    SELECT p.response_status <> a.status OR p.response_body <> a.body AS differs,
           p.completed_at IS NOT NULL AND CASE
             WHEN a.path = '/orders' THEN EXISTS (
               SELECT FROM orders o WHERE o.account_id = "accountId" AND o.order_id = a.key)
             ELSE EXISTS (
               SELECT FROM charges c LEFT JOIN bank.captures b ON b.account_id = c.account_id AND b.idempotency_key = c.id
               WHERE c.account_id = "accountId" AND c.id = ${CHARGE_ID} AND c.description = a.key
                 AND CASE WHEN a.status = 200 THEN c.status = 'succeeded' AND b.charge_id IS NOT NULL
                          ELSE c.status = 'failed' AND b.charge_id IS NULL END)
           END AS "isKept"
    FROM acknowledged a LEFT JOIN processed_requests p ON p.account_id = a."accountId" AND p.idempotency_key = a.key
  )
  SELECT count(*)::int AS acknowledged, (count(*) FILTER (WHERE NOT "isKept"))::int AS lost,
         (count(*) FILTER (WHERE differs))::int AS differing
  FROM compared`;

// The description of a charge is the key of its request, and each order takes one piece of one item.
const DOUBLED = `
  SELECT ((SELECT count(*) - count(DISTINCT (account_id, description)) FROM charges WHERE description LIKE 'item\\_%')
        + (SELECT count(*) FROM bank.captures b LEFT JOIN charges c ON c.account_id = b.account_id AND c.id = b.charge_id
           WHERE c.status IS DISTINCT FROM 'succeeded')
        + (SELECT coalesce(sum(abs(${STOCK} - stock - taken)), 0) FROM inventory i CROSS JOIN LATERAL (
             SELECT count(*) AS taken FROM orders o
             WHERE o.account_id = i.account_id AND o.items->0->>'item_id' = i.item_id) AS o
           WHERE i.item_id LIKE 'item\\_%'))::int AS doubled`;

/**
 * Compares acknowledged requests with the database that must have their effects. Call this after the load has stopped, because a request that
 * is under way has a capture before its charge succeeds.
 */
export async function compare(acknowledgements: readonly Acknowledgement[], sql: RunSql): Promise<Comparison> {
  const [kept] = await sql<Omit<Comparison, 'doubled'>>(LOST_AND_DIFFERING, [JSON.stringify(acknowledgements)]);
  const [effects] = await sql<Pick<Comparison, 'doubled'>>(DOUBLED);
  if (!kept || !effects) throw new Error('A SELECT of aggregates returned no row');
  return { ...kept, ...effects };
}

/**
 * Works while a load runs, then stops the load and compares its replies with the database. If the work fails, the load is stopped too, because it
 * would disturb the next work.
 *
 * @param work returns what it has measured
 * @returns what was measured and the comparison, in one line
 * @throws AssertionError with the comparison if a reply was lost, doubled or changed, or if a client got an `internal_error`
 */
export async function underLoad(
  options: LoadOptions,
  sql: RunSql,
  work: (load: Load) => Promise<string>,
): Promise<string> {
  const load = await Load.start(options);
  const measured = await work(load).catch(async (error: unknown) => {
    await load.stop().catch(() => undefined); // the first error says more
    throw error;
  });
  await load.stop();
  const { acknowledged, ...faults } = await compare(load.acknowledgements, sql);
  const { lost, doubled, differing } = faults;
  const result =
    `acknowledged ${acknowledged}, lost ${lost}, doubled ${doubled}, different ${differing}; ` +
    `clients retried ${load.retries()}`;
  assert.deepEqual(faults, { lost: 0, doubled: 0, differing: 0 }, result);
  assert.doesNotMatch(load.retries(), /internal_error/, result);
  return `${measured}, ${result}`;
}
