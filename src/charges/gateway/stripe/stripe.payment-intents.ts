import type { Stripe } from 'stripe';
import { z } from 'zod';
import type { Charge } from '../../charge.entity.js';
import type { CardToken } from '../card-tokens.js';
import { failureOf, type ReportFault, StripeFailure, unavailable } from './stripe.failure.js';
import type { OpenedPayment } from './stripe.payments.js';

/** Stripe's test payment method for each token. The tokens with which the simulated bank fails for a moment pay at Stripe. */
const PAYMENT_METHODS: Record<CardToken, string> = {
  tok_visa: 'pm_card_visa',
  tok_mastercard: 'pm_card_mastercard',
  tok_chargeDeclined: 'pm_card_visa_chargeDeclined',
  tok_insufficientFunds: 'pm_card_visa_chargeDeclinedInsufficientFunds',
  tok_slow: 'pm_card_visa',
  tok_timeout: 'pm_card_visa',
  tok_unavailable: 'pm_card_visa',
};

const STATUSES = [
  'requires_payment_method',
  'requires_confirmation',
  'requires_action',
  'processing',
  'requires_capture',
  'canceled',
  'succeeded',
] as const;

/** The parts of a PaymentIntent that decide a charge. */
export const paymentIntent = z.looseObject({
  id: z.string().regex(/^pi_\w{1,250}$/),
  status: z.enum(STATUSES),
  last_payment_error: z.looseObject({ code: z.string().optional(), decline_code: z.string().optional() }).nullish(),
});

export type PaymentIntent = z.output<typeof paymentIntent>;

/**
 * The requests to Stripe.
 *
 * Each of them throws Problem 503 `gateway_unavailable` if there is no answer, or if the answer says nothing about the payment. If the cause is a
 * fault on our side, `report` gets it as well.
 */
export class StripePaymentIntents {
  constructor(
    private readonly stripe: Stripe,
    private readonly report: ReportFault,
  ) {}

  /**
   * Creates a PaymentIntent that is not confirmed yet, so no money moves, however often this method is called. Returns the reason instead if
   * Stripe refuses the amount or the currency, which the client has chosen.
   */
  async create(charge: Charge): Promise<OpenedPayment> {
    const { account_id, id, amount, currency, source } = charge;
    const parameters: Stripe.PaymentIntentCreateParams = {
      amount,
      currency,
      allowed_payment_method_types: ['card'],
      // By default, Stripe says `succeeded` first and captures later.
      capture_method: 'automatic',
      payment_method: PAYMENT_METHODS[source as CardToken],
      metadata: { charge_id: id, account_id },
    };
    const ask = (options: Stripe.RequestOptions) => intentIn(this.stripe.paymentIntents.create(parameters, options));
    try {
      const intent = await ask({ idempotencyKey: id }).catch((error: unknown) => {
        // Stripe answers this key with the recorded failure for a day. The SDK sends a random key instead.
        if (error instanceof StripeFailure && error.isRecorded) return ask({});
        throw error;
      });
      return { kind: 'intent', id: intent.id };
    } catch (error) {
      if (error instanceof StripeFailure && error.refusal) return { kind: 'refused', reason: error.refusal };
      throw unavailable(error, this.report);
    }
  }

  /**
   * Takes the money. A PaymentIntent succeeds at most once, so a repetition needs no key of ours, and no recorded failure stands in its way. The
   * customer is absent and cannot authenticate, so Stripe declines a card that wants 3-D Secure.
   */
  confirm(id: string): Promise<PaymentIntent> {
    return this.answerTo(this.stripe.paymentIntents.confirm(id, { off_session: true, error_on_requires_action: true }));
  }

  /** Makes it impossible that the PaymentIntent succeeds later. Returns the PaymentIntent as it is if it has succeeded or is canceled already. */
  cancel(id: string): Promise<PaymentIntent> {
    return this.answerTo(this.stripe.paymentIntents.cancel(id));
  }

  retrieve(id: string): Promise<PaymentIntent> {
    return this.answerTo(this.stripe.paymentIntents.retrieve(id));
  }

  private answerTo(request: Promise<unknown>): Promise<PaymentIntent> {
    return intentIn(request).catch((error: unknown) => {
      throw unavailable(error, this.report);
    });
  }
}

/** Returns the PaymentIntent that an answer describes. The errors for a decline and for a PaymentIntent in another state contain the PaymentIntent. */
async function intentIn(answer: Promise<unknown>): Promise<PaymentIntent> {
  const body = await answer.catch((error: unknown) => {
    const { type, code, payment_intent } = error as Partial<Stripe.errors.StripeError>;
    const describesIntent = type === 'StripeCardError' || code === 'payment_intent_unexpected_state';
    if (describesIntent && payment_intent) return payment_intent;
    throw failureOf(error) ?? error;
  });
  const { success, data } = paymentIntent.safeParse(body);
  if (!success) throw new StripeFailure({ type: 'the answer is not a PaymentIntent' });
  return data;
}
