import type { Stripe } from 'stripe';
import type { Charge } from '../../charge.entity.js';
import type { Refund } from '../../refunds/refund.entity.js';
import {
  type Authorization,
  type GatewayLimits,
  gatewayUnavailable,
  PaymentGateway,
  type RefundDecision,
} from '../payment.gateway.js';
import { decisionIn, declined, reasonOf } from './stripe.decision.js';
import type { ReportFault } from './stripe.failure.js';
import { type PaymentIntent, StripePaymentIntents } from './stripe.payment-intents.js';
import type { OpenedPayment, StripePayments } from './stripe.payments.js';
import { StripeRefunds } from './stripe.refunds.js';

/**
 * Takes the money with Stripe: creates a PaymentIntent, commits its id, and confirms the committed PaymentIntent.
 *
 * Two invariants hold without any clock and without Stripe's idempotency keys:
 * 1. An attempt confirms only the committed PaymentIntent of its charge, and a PaymentIntent succeeds at most once. So a charge takes money at most once.
 * 2. A decision is read from a PaymentIntent that is `succeeded` or `canceled`. A PaymentIntent never leaves these states, so all attempts read the same
 *    decision. A declined PaymentIntent is canceled before the decline is recorded, because a late attempt could otherwise confirm it again.
 *
 * docs/stripe.md has the meaning of each answer of Stripe, and ADR 43 the reason for the two requests.
 */
export class StripeGateway extends PaymentGateway {
  readonly name = 'stripe';
  private readonly intents: StripePaymentIntents;
  private readonly refunds: StripeRefunds;

  constructor(
    stripe: Stripe,
    private readonly payments: StripePayments,
    limits: GatewayLimits,
  ) {
    // A PaymentIntent can always be confirmed again. A refund has only its key.
    super({ ...limits, chargeKeyLifeMs: Infinity });
    const report: ReportFault = (fault, error) => this.events.next({ type: 'fault', fault, error });
    this.intents = new StripePaymentIntents(stripe, report);
    this.refunds = new StripeRefunds(stripe, report);
  }

  protected async send(charge: Charge, giveUp: AbortSignal): Promise<Authorization> {
    const known = await this.payments.find(charge);
    const decided = known && (await this.decisionOf(known));
    if (decided) return decided;
    // A known payment is kept again, because `keep` waits until the row is committed and replicated.
    const payment = await this.payments.keep(charge, known ?? (await this.intents.create(charge)));
    // After the limit in time, recovery may be at work already.
    giveUp.throwIfAborted();
    return payment.kind === 'refused' ? declined(payment.reason) : this.decide(await this.intents.confirm(payment.id));
  }

  /** Looks the charge up at Stripe. Returns undefined if no attempt at the charge has been confirmed. */
  protected async find(charge: Charge): Promise<Authorization | undefined> {
    const payment = await this.payments.find(charge);
    return payment && this.decisionOf(payment);
  }

  /** Returns undefined if no attempt at the payment has been confirmed. */
  private async decisionOf(payment: OpenedPayment): Promise<Authorization | undefined> {
    if (payment.kind === 'refused') return declined(payment.reason);
    const intent = await this.intents.retrieve(payment.id);
    return intent.status === 'requires_confirmation' ? undefined : this.decide(intent);
  }

  protected async sendRefund(refund: Refund, charge: Charge): Promise<RefundDecision> {
    const { timeoutMs } = this.limits;
    const startedAt = performance.now();
    const intentId = await this.intentOf(charge);
    // The key certainly lives only until the limit in time. After a freeze, the answer of the database may be handled before the timer that
    // aborts the attempt, so the clock decides.
    if (performance.now() - startedAt < timeoutMs) return this.refunds.create(refund, intentId);
    throw gatewayUnavailable(
      new Error(`The PaymentIntent of ${refund.id} was found after the limit of ${timeoutMs} ms`),
    );
  }

  protected async findRefund(refund: Refund, charge: Charge): Promise<RefundDecision | undefined> {
    const payment = await this.payments.find(charge);
    // Without a PaymentIntent there is nothing to look up. A person has to find out at the gateway that took the money.
    return payment?.kind === 'intent' ? this.refunds.find(refund, payment.id) : undefined;
  }

  /** @throws Problem 503 `gateway_unavailable` if another gateway took the money of the charge */
  private async intentOf(charge: Charge): Promise<string> {
    const payment = await this.payments.find(charge);
    if (payment?.kind === 'intent') return payment.id;
    throw gatewayUnavailable(new Error(`${charge.id} has no PaymentIntent, so Stripe cannot refund it`));
  }

  /** @throws Problem 503 `gateway_unavailable` if the PaymentIntent is not decided yet */
  private async decide(intent: PaymentIntent): Promise<Authorization> {
    const decided = decisionIn(intent);
    if (decided) return decided;
    if (intent.status !== 'requires_payment_method' && intent.status !== 'requires_action') {
      throw gatewayUnavailable(new Error(`The PaymentIntent is not decided, because it is ${intent.status}`));
    }
    const { status } = await this.intents.cancel(intent.id);
    if (status === 'canceled') return declined(reasonOf(intent));
    // Another attempt was faster.
    if (status === 'succeeded') return { status };
    throw gatewayUnavailable(new Error(`The PaymentIntent could not be canceled, because it is ${status}`));
  }
}
