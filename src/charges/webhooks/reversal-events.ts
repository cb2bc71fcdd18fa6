import { Injectable } from '@nestjs/common';
import type { Charge } from '../charge.entity.js';
import { type DisputeReport, type DisputeStatus, noteDispute } from '../disputes.js';
import { countReported } from '../refunds/reported-refunds.js';
import { EventCharges } from './event-charges.js';
import { EventInbox } from './event-inbox.js';
import { type Outcome, undecided } from './outcome.js';
import type { DisputeEvent, RefundEvent } from './stripe-event.js';

/** The statuses of Stripe that are final. In all others the dispute is open. */
const FINAL: Readonly<Record<string, DisputeStatus>> = {
  won: 'won',
  lost: 'lost',
  warning_closed: 'closed',
  prevented: 'closed',
};

/**
 * Counts money that goes back after a charge has succeeded. The work is one transaction with the inbox and does not ask Stripe. The charge may still
 * be pending, if Stripe's reply was lost, because the balance is a sum that does not depend on the order.
 *
 * The invariant: nothing is subtracted from the balance that is never added. So nothing is counted for a charge that is recorded as failed. A
 * pending charge with such an event does not fail later, because its payment has succeeded, which is final at Stripe.
 */
@Injectable()
export class ReversalEvents {
  constructor(
    private readonly charges: EventCharges,
    private readonly inbox: EventInbox,
  ) {}

  async refund(event: RefundEvent, charge: Charge): Promise<Outcome> {
    const { intent_id: intentId, refunded } = event;
    const { amount, currency, amount_refunded: reported } = refunded;
    if (!(await this.charges.isPayment(charge, { intentId, amount, currency }))) {
      if (await this.charges.hasLostPayment(charge)) throw undecided(charge);
      return this.inbox.contradict(event, charge, 'is refunded, but is not the PaymentIntent of the charge');
    }
    if (charge.status === 'failed') return this.inbox.contradict(event, charge, `is refunded, ${BUT_FAILED}`);
    const { account_id, id } = charge;
    return this.inbox.receive(event, charge, (tx) => countReported(tx, [{ account_id, id, reported }]));
  }

  dispute(event: DisputeEvent, charge: Charge): Promise<Outcome> {
    if (charge.status === 'failed') return this.inbox.contradict(event, charge, `is disputed, ${BUT_FAILED}`);
    return this.inbox.receive(event, charge, (tx) => noteDispute(tx, charge, reportOf(event)));
  }
}

const BUT_FAILED = 'but the charge is recorded as failed';

const reportOf = ({ type, created, dispute: { id, amount, currency, status } }: DisputeEvent): DisputeReport => ({
  id,
  amount,
  currency,
  status: FINAL[status] ?? 'open',
  status_at: new Date(created * 1_000),
  is_withdrawn: type.endsWith('.funds_withdrawn'),
  is_reinstated: type.endsWith('.funds_reinstated'),
});
