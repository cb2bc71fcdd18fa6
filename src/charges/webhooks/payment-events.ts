import { Injectable } from '@nestjs/common';
import { type Phase, Recovery, type Reply, type Row } from '../../idempotency/index.js';
import { receive } from '../../messaging/index.js';
import type { Charge } from '../charge.entity.js';
import { CREATE_CHARGE, requestIdOf, settleCharge, type Settlement } from '../charges.phases.js';
import { PaymentGateway } from '../gateway/payment.gateway.js';
import { decisionIn } from '../gateway/stripe/stripe.decision.js';
import { EventCharges } from './event-charges.js';
import { EventInbox, STRIPE } from './event-inbox.js';
import { type Outcome, undecided } from './outcome.js';
import type { PaymentEvent } from './stripe-event.js';

/** A decision that an event reports. */
interface ReportedSettlement extends Settlement {
  eventId: string;
}

/**
 * Settles a charge as an event reports. The invariant: the event is in the inbox if and only if its work is committed, so an event whose work was
 * lost in a crash is not a duplicate when Stripe sends it again.
 */
const settleByEvent: Phase<ReportedSettlement, Reply> = async (tx, items) => {
  await receive(
    tx,
    STRIPE,
    items.map(({ accountId, input }) => ({ accountId, id: input.eventId })),
  );
  const rows = await tx.query<Row[]>(settleCharge.text, settleCharge.parameters(items));
  return settleCharge.results(items, Promise.resolve(rows));
};

/**
 * Finishes the charges whose decision an event reports, before or after Stripe's reply to the request, or instead of that reply.
 *
 * An intent that is `succeeded` or `canceled` never changes, so such an event decides alone, even if Stripe cannot be reached. After any other
 * event the gateway decides, because the event may be out of date. For example a declined intent must be canceled before the decline is
 * recorded.
 */
@Injectable()
export class PaymentEvents {
  constructor(
    private readonly charges: EventCharges,
    private readonly gateway: PaymentGateway,
    private readonly recovery: Recovery,
    private readonly inbox: EventInbox,
  ) {}

  /** @throws Problem 503 or 504 if the charge is not decided yet. Stripe sends the event again then */
  async apply(event: PaymentEvent, charge: Charge): Promise<Outcome> {
    const { id: intentId, amount, currency, status } = event.intent;
    const reported = { intentId, amount, currency };
    const hasTakenMoney = status === 'succeeded';
    const isPayment =
      hasTakenMoney && charge.status === 'pending'
        ? await this.charges.adopts(charge, reported)
        : await this.charges.isPayment(charge, reported);
    if (!isPayment) {
      if (!hasTakenMoney) return this.inbox.note(event, charge);
      return this.inbox.contradict(event, charge, 'is not the PaymentIntent of the charge, but has taken money for it');
    }
    return charge.status === 'pending' ? this.finish(event, charge) : this.compare(event, charge);
  }

  /** An event about a charge that is settled leaves nothing to do, but its decision must be the recorded one. */
  private compare(event: PaymentEvent, charge: Charge): Promise<Outcome> {
    const decision = decisionIn(event.intent);
    if (!decision || decision.status === charge.status) return this.inbox.note(event, charge);
    return this.inbox.contradict(
      event,
      charge,
      `has ${decision.status}, but the charge is recorded as ${charge.status}`,
    );
  }

  /** Settles the charge under a new lock token, so an attempt that still waits for Stripe is fenced off. */
  private async finish(event: PaymentEvent, charge: Charge): Promise<Outcome> {
    const { id: eventId, intent } = event;
    const authorization = decisionIn(intent) ?? (await this.gateway.look(charge));
    if (!authorization) throw undecided(charge);
    const name = { accountId: charge.account_id, requestId: requestIdOf(charge.id) };
    const isFinished = await this.recovery.finishOne(CREATE_CHARGE, name, ({ request }) =>
      request.complete(settleByEvent, { charge, authorization, eventId }),
    );
    if (isFinished) return 'applied';
    // Another attempt was faster.
    const settled = await this.charges.of(event);
    if (!settled || settled.status === 'pending') throw undecided(charge);
    return this.compare(event, settled);
  }
}
