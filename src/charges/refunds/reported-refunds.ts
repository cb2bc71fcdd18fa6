import type { EntityManager } from 'typeorm';
import { appendToOutbox } from '../../messaging/index.js';
import type { Charge } from '../charge.entity.js';
import { lockCharges } from './refundable.js';

export interface ReportedRefunds extends Pick<Charge, 'account_id' | 'id'> {
  /** The sum of all refunds of the charge, as the gateway reports it, in minor units; 0 if there is no new report. */
  reported: number;
}

/**
 * Counts refunds that were not made by this service, for example in the dashboard of the gateway, once.
 *
 * The gateway reports only the sum of all refunds of a charge. The part that exceeds our own refunds is not ours:
 *
 *     elsewhere = max(elsewhere so far, max(reported so far) - sum of our refunds that the gateway has not refused)
 *
 * The invariant: `elsewhere` is never too large, and it is right once every refund is settled and its report has arrived, in any order.
 * - Never too large, because every refund of ours is in our sum before the gateway is asked, and leaves our sum only if the gateway never made the
 *   refund. A refund that the gateway made and gave up stays in our sum, because a report may contain it. So a report contains no refund of ours
 *   that our sum lacks. A pending refund may make the difference too small, for a while.
 * - Right in the end, because the difference is computed again whenever it may have grown: after a report, and after a refund of ours has failed.
 *   If the gateway takes a refund that it gave up out of its sum again, `elsewhere` may stay too small by the amount of this refund.
 * - A duplicate and an older report change nothing, because both maxima stay the same.
 *
 * The increase of `elsewhere` is appended to the outbox. The new total is part of the id of the message, so each increase has its own message.
 */
export async function countReported(tx: EntityManager, charges: readonly ReportedRefunds[]): Promise<void> {
  // The lock of the charge serialises this computation with other ones and with new refunds.
  await lockCharges(tx, charges);
  await tx.query(COUNT, [JSON.stringify(charges)]);
}

const COUNT = `
  WITH before AS MATERIALIZED (
    SELECT charge.account_id, charge.id, charge.currency, coalesce(known.elsewhere, 0) AS elsewhere,
           greatest(wanted.reported, coalesce(known.reported, 0)) AS reported,
           (SELECT coalesce(sum(own.amount), 0)::integer FROM refunds AS own
            WHERE own.account_id = charge.account_id AND own.charge_id = charge.id
              AND (own.status <> 'failed' OR own.is_given_up)) AS own
    FROM jsonb_to_recordset($1::jsonb) AS wanted (account_id text, id text, reported integer)
    JOIN charges AS charge ON charge.account_id = wanted.account_id AND charge.id = wanted.id
    LEFT JOIN reported_refunds AS known ON known.account_id = wanted.account_id AND known.charge_id = wanted.id
  ), counted AS (
    INSERT INTO reported_refunds (account_id, charge_id, reported, elsewhere)
    SELECT account_id, id, reported, greatest(elsewhere, reported - own) FROM before WHERE reported > 0
    ON CONFLICT (account_id, charge_id) DO UPDATE SET reported = excluded.reported, elsewhere = excluded.elsewhere
    RETURNING account_id, charge_id, elsewhere
  ), messages AS (
    SELECT account_id, 'charge.refunded_elsewhere' AS type, id || '.' || counted.elsewhere AS subject,
           jsonb_build_object('charge_id', id, 'amount', counted.elsewhere - before.elsewhere, 'currency', currency) AS data
    FROM counted JOIN before USING (account_id) WHERE charge_id = id AND counted.elsewhere > before.elsewhere
  )
  ${appendToOutbox('messages')}`;
