import type { Stripe } from 'stripe';
import type { Charge } from '../../charge.entity.js';
import { type Authorization, type GatewayLimits, gatewayUnavailable, PaymentGateway } from '../payment.gateway.js';
import { decisionIn, declined, reasonOf } from './stripe.decision.js';
import { type PaymentIntent, StripePaymentIntents } from './stripe.payment-intents.js';
import type { StripePayments } from './stripe.payments.js';

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
  private readonly intents: StripePaymentIntents;

  constructor(
    stripe: Stripe,
    private readonly payments: StripePayments,
    { timeoutMs }: GatewayLimits,
  ) {
    // No life of a key matters, so this service may always ask.
    super({ timeoutMs, keyLifeMs: Infinity });
    this.intents = new StripePaymentIntents(stripe, (fault, error) =>
      this.events.next({ type: 'fault', fault, error }),
    );
  }

  protected async send(charge: Charge, giveUp: AbortSignal): Promise<Authorization> {
    const decided = await this.find(charge);
    if (decided) return decided;
    const opened = (await this.payments.find(charge)) ?? (await this.intents.create(charge));
    const payment = await this.payments.keep(charge, opened);
    // After the limit in time, recovery may be at work already.
    giveUp.throwIfAborted();
    return payment.kind === 'refused' ? declined(payment.reason) : this.decide(await this.intents.confirm(payment.id));
  }

  /** Looks the charge up at Stripe. Returns undefined if no attempt at the charge has been confirmed. */
  protected async find(charge: Charge): Promise<Authorization | undefined> {
    const payment = await this.payments.find(charge);
    if (!payment) return undefined;
    if (payment.kind === 'refused') return declined(payment.reason);
    const intent = await this.intents.retrieve(payment.id);
    return intent.status === 'requires_confirmation' ? undefined : this.decide(intent);
  }

  /** @throws Problem 503 `gateway_unavailable`, because this service does not send refunds to Stripe */
  protected sendRefund(): Promise<never> {
    return Promise.reject(gatewayUnavailable(new Error('This service does not send refunds to Stripe')));
  }

  /** @throws Problem 503 `gateway_unavailable`, as {@link sendRefund} */
  protected findRefund(): Promise<never> {
    return this.sendRefund();
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
