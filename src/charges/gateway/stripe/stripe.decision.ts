import type { Authorization } from '../payment.gateway.js';
import { declineCodeOf } from './stripe.failure.js';
import type { Intent } from './stripe.intents.js';

export const declined = (declineCode: string): Authorization => ({ status: 'failed', declineCode });

/**
 * The decision that an intent shows, or undefined if the intent may still change.
 *
 * Only `succeeded` and `canceled` are decisions, because an intent never leaves these states. The answers and the events of Stripe are read by
 * this function alone, so they cannot disagree.
 */
export function decisionIn(intent: Intent): Authorization | undefined {
  if (intent.status === 'succeeded') return { status: 'succeeded' };
  return intent.status === 'canceled' ? declined(reasonOf(intent)) : undefined;
}

/** The reason for which an intent did not succeed. Stripe may forget the decline of a canceled intent; the reason is then `canceled`. */
export function reasonOf({ status, last_payment_error: error }: Intent): string {
  const unknown = { requires_action: 'authentication_required', canceled: 'canceled' }[status as string];
  return declineCodeOf(error?.decline_code ?? error?.code, unknown ?? 'generic_decline');
}
