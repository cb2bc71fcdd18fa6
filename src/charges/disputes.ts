import type { EntityManager } from 'typeorm';
import { appendToOutbox } from '../messaging/index.js';
import type { Charge } from './charge.entity.js';
import { lockCharges } from './refunds/refundable.js';

/** `closed` means that an inquiry ended without a dispute. All but `open` are final. */
export const DISPUTE_STATUSES = ['open', 'won', 'lost', 'closed'] as const;

export type DisputeStatus = (typeof DISPUTE_STATUSES)[number];

/** A report of the gateway about a dispute. */
export interface DisputeReport {
  id: string;
  amount: number;
  currency: string;
  status: DisputeStatus;
  /** The time of the report. */
  status_at: Date;
  /** Whether the report says that the bank has taken the disputed amount back, or has returned it. */
  is_withdrawn: boolean;
  is_reinstated: boolean;
}

/**
 * Stores a report about a dispute. The result does not depend on the order of the reports, and a duplicate changes nothing:
 * - A final status replaces `open`, also if the report of `open` arrives later. If both statuses are final, the later one stays.
 * - The disputed amount is subtracted from the balance once and added once. The invariant: a message is appended only by the transaction that
 *   sets the flag of the dispute, and a flag is never cleared.
 */
export async function noteDispute(
  tx: EntityManager,
  { account_id, id }: Pick<Charge, 'account_id' | 'id'>,
  report: DisputeReport,
): Promise<void> {
  // The lock of the charge serialises the reports about its disputes.
  await lockCharges(tx, [{ account_id, id }]);
  await tx.query(NOTE, [JSON.stringify({ ...report, account_id, charge_id: id }), report.amount, report.currency]);
}

/**
 * Returns an SQL expression for the status of the last dispute of a charge; NULL if there is none.
 *
 * @param charge the SQL name of the charge's row. The name becomes part of the SQL, so it must be a constant.
 */
export const lastDispute = (charge: string) => `(
  SELECT dispute.status FROM disputes AS dispute
  WHERE dispute.account_id = ${charge}.account_id AND dispute.charge_id = ${charge}.id
  ORDER BY dispute.status_at DESC, dispute.id LIMIT 1)`;

// $1 the report as a row of disputes, $2 amount, $3 currency
const NOTE = `
  WITH report AS MATERIALIZED (
    SELECT * FROM jsonb_populate_record(NULL::disputes, $1::jsonb)
  ), before AS MATERIALIZED (
    SELECT known.is_withdrawn, known.is_reinstated FROM disputes AS known JOIN report USING (account_id, id)
  ), noted AS (
    INSERT INTO disputes AS known (account_id, id, charge_id, status, status_at, is_withdrawn, is_reinstated)
    SELECT account_id, id, charge_id, status, status_at, is_withdrawn, is_reinstated FROM report
    ON CONFLICT (account_id, id) DO UPDATE SET
      (status, status_at) = (
        SELECT later.status, later.status_at
        FROM (VALUES (known.status, known.status_at), (excluded.status, excluded.status_at)) AS later (status, status_at)
        -- The status itself decides between two reports of the same second, so that their order does not matter.
        ORDER BY later.status <> 'open' DESC, later.status_at DESC, later.status LIMIT 1),
      is_withdrawn = known.is_withdrawn OR excluded.is_withdrawn,
      is_reinstated = known.is_reinstated OR excluded.is_reinstated
    RETURNING account_id, id, charge_id, is_withdrawn, is_reinstated
  ), messages AS (
    SELECT account_id, moved.type, id AS subject,
           jsonb_build_object('dispute_id', id, 'charge_id', charge_id, 'amount', $2::integer, 'currency', $3::text) AS data
    FROM noted LEFT JOIN before ON true CROSS JOIN LATERAL (VALUES
      ('dispute.funds_withdrawn', noted.is_withdrawn, before.is_withdrawn),
      ('dispute.funds_reinstated', noted.is_reinstated, before.is_reinstated)) AS moved (type, is_now, was_before)
    WHERE moved.is_now AND moved.was_before IS NOT TRUE
  )
  ${appendToOutbox('messages')}`;
