import type { Authorization } from '../payment.gateway.js';
import { declineCodeOf } from './stripe.failure.js';
import type { PaymentIntent } from './stripe.payment-intents.js';

export const declined = (declineCode: string): Authorization => ({ status: 'failed', declineCode });

/**
 * The decision that a PaymentIntent shows, or undefined if the intent may still change.
 *
 * Only `succeeded` and `canceled` are decisions, because a PaymentIntent never leaves these states. The answers and the events of Stripe are read by
 * this function alone, so they cannot disagree.
 */
export function decisionIn(intent: PaymentIntent): Authorization | undefined {
  if (intent.status === 'succeeded') return { status: 'succeeded' };
  return intent.status === 'canceled' ? declined(reasonOf(intent)) : undefined;
}

/** The reason for which a PaymentIntent did not succeed. Stripe may forget the decline of a canceled PaymentIntent; the reason is then `canceled`. */
export function reasonOf({ status, last_payment_error: error }: PaymentIntent): string {
  const unknown = { requires_action: 'authentication_required', canceled: 'canceled' }[status as string];
  return declineCodeOf(error?.decline_code ?? error?.code, unknown ?? 'generic_decline');
}
