import { Problem } from '../../http/problem.js';
import type { Refund } from './refund.entity.js';

/** A 404, which is recorded. Charges are never deleted, so a retry would find the charge missing as well. */
export const chargeNotFound = () => new Problem('not_found', 'There is no charge with this id.', { outcome: 'final' });

/** A 409 that is not recorded, because the charge may succeed later. */
export const chargePending = () =>
  new Problem('charge_pending', 'The charge is pending, so it cannot be refunded yet.', { retryAfterSeconds: 1 });

/** @param left what is left of the charge, in minor units */
export const refundExceedsCharge = (left: number) =>
  new Problem('refund_exceeds_charge', 'The charge has less left than the refund needs. Nothing was refunded.', {
    outcome: 'final',
    extensions: { refundable: left },
  });

export const refundFailed = ({ id, failure_code }: Refund) =>
  new Problem('refund_failed', 'The bank refused the refund; no money was returned.', {
    outcome: 'final',
    extensions: { failure_code, refund_id: id },
  });
