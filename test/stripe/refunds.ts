import { type Form, nested } from './form.js';
import type { PaymentIntents } from './payment-intents.js';
import { invalid, type StripeAnswer } from './stripe-errors.js';

export interface Refund {
  id: string;
  object: 'refund';
  amount: number;
  currency: string;
  /** Seconds since 1970. */
  created: number;
  metadata: Record<string, string>;
  payment_intent: string;
  reason: string | null;
  status: 'pending' | 'succeeded' | 'failed';
  failure_reason?: string;
}

const REASONS = ['duplicate', 'fraudulent', 'requested_by_customer'];

/** The refunds of a Stripe account. The refunds of a PaymentIntent never exceed its amount. */
export class Refunds {
  private readonly refunds: Refund[] = [];

  constructor(
    private readonly intents: PaymentIntents,
    private readonly now: () => number,
  ) {}

  /** Newest first. */
  get all(): Refund[] {
    return [...this.refunds].reverse();
  }

  create(form: Form, status: Refund['status'] = 'succeeded'): StripeAnswer {
    const intent = this.intents.retrieve(form.get('payment_intent') ?? '');
    const reason = form.get('reason') ?? null;
    if (reason !== null && !REASONS.includes(reason)) throw invalid('reason', 'Invalid reason.');
    const counted = this.refunds.filter((made) => made.payment_intent === intent.id && made.status !== 'failed');
    const left = intent.amount_received - counted.reduce((sum, { amount }) => sum + amount, 0);
    if (intent.status === 'succeeded' && left === 0) {
      throw invalid('payment_intent', 'The charge has already been refunded.', 'charge_already_refunded');
    }
    const amount = form.has('amount') ? Number(form.get('amount')) : left;
    if (!Number.isInteger(amount) || amount < 1) throw invalid('amount', 'Invalid positive integer');
    if (amount > left) throw invalid('amount', 'The refund is greater than the unrefunded amount on the charge.');
    const refund: Refund = {
      id: `re_${String(this.refunds.length + 1).padStart(24, '0')}`,
      object: 'refund',
      amount,
      currency: intent.currency,
      created: Math.floor(this.now() / 1_000),
      metadata: nested(form, 'metadata'),
      payment_intent: intent.id,
      reason,
      status,
    };
    this.refunds.push(refund);
    return { status: 200, body: { ...refund } };
  }

  /** Decides the refunds that are pending. The money of a refund that fails returns to the account. */
  decidePending(status: 'succeeded' | 'failed'): void {
    for (const refund of this.refunds.filter((made) => made.status === 'pending')) {
      refund.status = status;
      if (status === 'failed') refund.failure_reason = 'expired_or_canceled_card';
    }
  }
}
