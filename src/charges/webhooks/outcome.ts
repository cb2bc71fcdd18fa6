import type { Charge } from '../charge.entity.js';
import { gatewayUnavailable } from '../gateway/payment.gateway.js';

/**
 * The outcome of an event. `applied`: its work is committed, also if nothing was left to do. `duplicate`: its work was committed before.
 * `unmatched`: it is kept, now or before, because its charge is not known. `contradicted`: money has moved against the books; this is counted
 * before the commit. `ignored`: it is not for this service.
 */
export const OUTCOMES = ['applied', 'duplicate', 'unmatched', 'contradicted', 'ignored'] as const;

export type Outcome = (typeof OUTCOMES)[number];

/** The answer to an event that cannot be judged before its charge is decided. Stripe sends the event again. */
export const undecided = ({ id }: Charge) =>
  gatewayUnavailable(new Error(`${id} is not decided, so the event must be sent again`));
