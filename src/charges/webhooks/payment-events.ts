import { Injectable, Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type Phase, Recovery, type Reply, type Row } from '../../idempotency/index.js';
import { receive } from '../../messaging/index.js';
import { Charge } from '../charge.entity.js';
import { CREATE_CHARGE, requestIdOf, settleCharge, type Settlement } from '../charges.phases.js';
import { type Authorization, gatewayUnavailable, PaymentGateway } from '../gateway/payment.gateway.js';
import { decisionIn } from '../gateway/stripe/stripe.decision.js';
import { StripePayments } from '../gateway/stripe/stripe.payments.js';
import { receiveOnce, STRIPE } from './event-inbox.js';
import type { Outcome } from './outcome.js';
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
  private readonly logger = new Logger(PaymentEvents.name);

  constructor(
    private readonly dataSource: DataSource,
    private readonly payments: StripePayments,
    private readonly gateway: PaymentGateway,
    private readonly recovery: Recovery,
  ) {}

  /** @throws Problem 503 or 504 if the charge is not decided yet. Stripe sends the event again then */
  async apply(event: PaymentEvent, charge: Charge): Promise<Outcome> {
    if (!(await this.isOwn(event, charge))) {
      if (event.intent.status !== 'succeeded') return this.note(event, charge);
      return this.contradict(event, charge, 'is not the PaymentIntent of the charge, but has taken money for it');
    }
    if (charge.status === 'pending' && (await this.finish(event, charge))) return 'applied';
    const decision = decisionIn(event.intent);
    const { status } = await this.dataSource.manager.findOneByOrFail(Charge, keyOf(charge));
    if (status === 'pending')
      throw gatewayUnavailable(new Error(`${charge.id} is pending, but no request is unfinished`));
    if (!decision || decision.status === status) return this.note(event, charge);
    return this.contradict(event, charge, `${decision.status}, but the charge is recorded as ${status}`);
  }

  /**
   * Whether the intent is the one that the charge confirms. Metadata alone prove nothing, because any user of the Stripe account can write them.
   *
   * A failover may have lost the row of the intent. If money was taken, the intent becomes the one of the charge again, so that no attempt can
   * confirm another one.
   */
  private async isOwn({ intent }: PaymentEvent, charge: Charge): Promise<boolean> {
    if (intent.amount !== charge.amount || intent.currency !== charge.currency) return false;
    const payment =
      intent.status === 'succeeded'
        ? await this.payments.keep(charge, { kind: 'intent', id: intent.id })
        : await this.payments.find(charge);
    return payment?.kind === 'intent' && payment.id === intent.id;
  }

  /** Settles the charge under a new lock token, so an attempt that still waits for Stripe is fenced off. Returns false if that was not necessary. */
  private async finish({ id: eventId, intent }: PaymentEvent, charge: Charge): Promise<boolean> {
    const authorization: Authorization | undefined = decisionIn(intent) ?? (await this.gateway.look(charge));
    if (!authorization) throw gatewayUnavailable(new Error(`${charge.id} is not decided, although ${intent.id} is`));
    const name = { accountId: charge.account_id, requestId: requestIdOf(charge.id) };
    return this.recovery.finishOne(CREATE_CHARGE, name, ({ request }) =>
      request.complete(settleByEvent, { charge, authorization, eventId }),
    );
  }

  private async note(event: PaymentEvent, charge: Charge): Promise<Outcome> {
    return (await receiveOnce(this.dataSource, event, charge)) ? 'applied' : 'duplicate';
  }

  /** Money has moved against the books, and only a person can correct that. */
  private async contradict(event: PaymentEvent, charge: Charge, how: string): Promise<Outcome> {
    if ((await this.note(event, charge)) === 'duplicate') return 'duplicate';
    this.logger.error(
      `${event.type} ${event.id} contradicts ${charge.id} of ${charge.account_id}: ${event.intent.id} ${how}`,
    );
    return 'contradicted';
  }
}

const keyOf = ({ account_id, id }: Charge) => ({ account_id, id });
