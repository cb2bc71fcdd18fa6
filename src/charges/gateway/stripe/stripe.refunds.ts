import type { Stripe } from 'stripe';
import { z } from 'zod';
import type { Refund } from '../../refunds/refund.entity.js';
import { gatewayUnavailable, type RefundDecision } from '../payment.gateway.js';
import { declineCodeOf, failureOf, type ReportFault, StripeFailure, unavailable } from './stripe.failure.js';

/** Refunds on one page of a list, the most that Stripe allows. */
const PAGE = 100;

/** The parts of a Stripe refund that decide a refund. */
const stripeRefund = z.looseObject({
  status: z.enum(['pending', 'requires_action', 'succeeded', 'failed', 'canceled']).nullable(),
  failure_reason: z.string().optional(),
});

/**
 * The refunds of PaymentIntents. Unlike a PaymentIntent, a refund is one request, so its idempotency key has to live while this service asks. After
 * that, a refund is found in the list of the refunds of its PaymentIntent, by the id in its metadata.
 *
 * Each request throws Problem 503 `gateway_unavailable` if there is no answer, or if the answer decides nothing. If the cause is a fault on our
 * side, `report` gets it as well.
 */
export class StripeRefunds {
  constructor(
    private readonly stripe: Stripe,
    private readonly report: ReportFault,
  ) {}

  /** Asks for the refund with the id of the refund as the idempotency key. */
  async create(refund: Refund, intentId: string): Promise<RefundDecision> {
    // The key replays the first answer for a day, so only the list shows what has become of a refund that was pending then.
    const decision = (await this.ask(refund, intentId)) ?? (await this.find(refund, intentId));
    if (decision) return decision;
    throw undecided('not in the list');
  }

  /** @returns `undefined` if Stripe had not decided the refund when it answered the first request with the key */
  private async ask(refund: Refund, intentId: string): Promise<RefundDecision | undefined> {
    const { id, account_id, charge_id, amount } = refund;
    const metadata = { refund_id: id, charge_id, account_id };
    const parameters: Stripe.RefundCreateParams = { payment_intent: intentId, amount, metadata };
    try {
      return decisionIn(await this.stripe.refunds.create(parameters, { idempotencyKey: id }));
    } catch (error) {
      const failure = failureOf(error);
      // Stripe refuses to refund more than it holds, for example after a refund in its dashboard or a dispute. The list shows whether the money that is
      // gone is this very refund. It also decides after a failure that Stripe has recorded, because the key gets this failure for a day.
      const refusal = refusalIn(error);
      const found = refusal || failure?.isRecorded ? await this.find(refund, intentId) : undefined;
      if (found) return found;
      if (refusal) return { status: 'failed', failureCode: refusal, isGivenUp: false };
      throw unavailable(failure ?? error, this.report);
    }
  }

  /** @returns `undefined` if Stripe does not know the refund */
  async find({ id }: Refund, intentId: string): Promise<RefundDecision | undefined> {
    try {
      for await (const found of this.stripe.refunds.list({ payment_intent: intentId, limit: PAGE })) {
        if (found.metadata?.['refund_id'] !== id) continue;
        const decision = decisionIn(found);
        if (decision) return decision;
        throw undecided(found.status);
      }
      return undefined;
    } catch (error) {
      throw unavailable(failureOf(error) ?? error, this.report);
    }
  }
}

/** @returns `undefined` if Stripe has not decided the refund yet */
function decisionIn(answer: unknown): RefundDecision | undefined {
  const { success, data } = stripeRefund.safeParse(answer);
  if (!success) throw new StripeFailure({ type: 'the answer is not a refund' });
  switch (data.status) {
    case 'succeeded':
      return { status: 'succeeded' };
    case 'failed':
    case 'canceled':
      return { status: 'failed', failureCode: declineCodeOf(data.failure_reason, data.status), isGivenUp: true };
    case 'pending':
    case 'requires_action':
    case null:
      return undefined;
  }
}

const undecided = (state: string | null) =>
  gatewayUnavailable(new Error(`Stripe has not decided the refund, because the refund is ${state}`));

/** The code with which Stripe refuses to refund this amount of this payment; undefined for every other error. */
function refusalIn(error: unknown): string | undefined {
  const { type, code, param } = error as Partial<Stripe.errors.StripeError>;
  if (type !== 'StripeInvalidRequestError') return undefined;
  if (code === 'charge_already_refunded' || code === 'charge_disputed') return code;
  return param === 'amount' ? declineCodeOf(code, 'amount_refused') : undefined;
}
