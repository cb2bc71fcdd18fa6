import { type Form, namesOf, nested } from './form.js';
import { invalid, missing, type StripeAnswer, StripeRefusal } from './stripe-errors.js';

interface PaymentError {
  type: 'card_error';
  code: string;
  decline_code: string;
  message: string;
  payment_method: { id: string; object: 'payment_method' };
}

export interface PaymentIntent {
  id: string;
  object: 'payment_intent';
  amount: number;
  amount_received: number;
  currency: string;
  /** Seconds since 1970. */
  created: number;
  metadata: Record<string, string>;
  payment_method: string;
  status:
    'requires_payment_method' | 'requires_confirmation' | 'requires_action' | 'processing' | 'canceled' | 'succeeded';
  last_payment_error: PaymentError | null;
}

/** The smallest amount in minor units. The real minimum depends on the currency. */
const MINIMUM_AMOUNT = 50;
const CURRENCIES = ['chf', 'eur', 'gbp', 'jpy', 'usd'];

const CONFIRMING = ['off_session', 'error_on_requires_action'];
const CREATING = [
  'amount',
  'currency',
  'allowed_payment_method_types',
  'capture_method',
  'confirm',
  'metadata',
  'payment_method',
];

/** How an attempt to take money from a card ends. The last two are not failures, and Stripe answers them with 200. */
export type Card =
  'pays' | 'asks for 3-D Secure' | { declines: string } | 'waits for the customer' | 'is processed later';

/** The behaviour of Stripe's test payment methods. */
function cardOf(paymentMethod: string): Card | undefined {
  if (/^pm_card_(visa|mastercard)$/.test(paymentMethod)) return 'pays';
  if (/^pm_card_(visa_)?chargeDeclined$/.test(paymentMethod)) return { declines: 'generic_decline' };
  if (/^pm_card_(visa_)?chargeDeclinedInsufficientFunds$/.test(paymentMethod))
    return { declines: 'insufficient_funds' };
  if (paymentMethod === 'pm_card_authenticationRequired') return 'asks for 3-D Secure';
  return undefined;
}

function refuseUnknown(form: Form, known: readonly string[]): void {
  const unknown = namesOf(form).find((name) => !known.includes(name));
  if (unknown) throw invalid(unknown, `Received unknown parameter: ${unknown}`, 'parameter_unknown');
}

/** The PaymentIntents of a Stripe account. A PaymentIntent succeeds at most once, and a canceled PaymentIntent never succeeds. */
export class PaymentIntents {
  private readonly intents = new Map<string, PaymentIntent>();

  constructor(private readonly now: () => number) {}

  /** The PaymentIntents that have taken money. */
  get captured(): PaymentIntent[] {
    return this.all.filter(({ status }) => status === 'succeeded');
  }

  /** Newest first. */
  get all(): PaymentIntent[] {
    return [...this.intents.values()].reverse();
  }

  create(form: Form): StripeAnswer {
    const confirms = form.get('confirm') === 'true';
    refuseUnknown(form, confirms ? [...CREATING, ...CONFIRMING] : CREATING);
    const amount = Number(form.get('amount'));
    const currency = form.get('currency') ?? '';
    const paymentMethod = form.get('payment_method') ?? '';
    if (!Number.isInteger(amount)) throw invalid('amount', 'Invalid integer', 'parameter_invalid_integer');
    if (amount < MINIMUM_AMOUNT) throw invalid('amount', 'The amount is too small.', 'amount_too_small');
    if (!CURRENCIES.includes(currency)) throw invalid('currency', 'Invalid currency.');
    if (!cardOf(paymentMethod)) throw missing('payment_method', paymentMethod);
    const intent: PaymentIntent = {
      id: `pi_${String(this.intents.size + 1).padStart(24, '0')}`,
      object: 'payment_intent',
      amount,
      amount_received: 0,
      currency,
      created: Math.floor(this.now() / 1_000),
      metadata: nested(form, 'metadata'),
      payment_method: paymentMethod,
      status: 'requires_confirmation',
      last_payment_error: null,
    };
    this.intents.set(intent.id, intent);
    return confirms ? this.attempt(intent, form) : answerWith(intent);
  }

  /** @param card replaces the behaviour of the card of the PaymentIntent */
  confirm(id: string, form: Form, card?: Card): StripeAnswer {
    refuseUnknown(form, CONFIRMING);
    const intent = this.inState(id, ['requires_confirmation', 'requires_payment_method', 'requires_action']);
    return this.attempt(intent, form, card);
  }

  cancel(id: string, form: Form): StripeAnswer {
    refuseUnknown(form, []);
    const open = ['requires_payment_method', 'requires_confirmation', 'requires_action'] as const;
    const intent = this.inState(id, open);
    intent.status = 'canceled';
    return answerWith(intent);
  }

  retrieve(id: string): PaymentIntent {
    const intent = this.intents.get(id);
    if (!intent) throw missing('intent', id);
    return intent;
  }

  private inState(id: string, expected: readonly PaymentIntent['status'][]): PaymentIntent {
    const intent = this.retrieve(id);
    if (expected.includes(intent.status)) return intent;
    throw new StripeRefusal(400, {
      type: 'invalid_request_error',
      code: 'payment_intent_unexpected_state',
      message: `This PaymentIntent is ${intent.status}.`,
      payment_intent: { ...intent },
    });
  }

  private attempt(intent: PaymentIntent, form: Form, card = cardOf(intent.payment_method)): StripeAnswer {
    if (card === 'pays') Object.assign(intent, { status: 'succeeded', amount_received: intent.amount });
    else if (card === 'is processed later') intent.status = 'processing';
    else if (card === 'waits for the customer') intent.status = 'requires_action';
    else if (card !== 'asks for 3-D Secure')
      return decline(intent, 'card_declined', card?.declines ?? 'generic_decline');
    else if (CONFIRMING.some((name) => form.get(name) === 'true')) {
      return decline(intent, 'authentication_required', 'authentication_required');
    } else intent.status = 'requires_action';
    return answerWith(intent);
  }
}

/** A copy, because the PaymentIntent changes and a recorded answer does not. */
const answerWith = (intent: PaymentIntent): StripeAnswer => ({ status: 200, body: { ...intent } });

/**
 * Leaves the card with the PaymentIntent, so that the PaymentIntent can be confirmed again. The documentation does not promise that Stripe takes the card away,
 * so the service must not depend on that.
 */
function decline(intent: PaymentIntent, code: string, declineCode: string): StripeAnswer {
  const error: PaymentError = {
    type: 'card_error',
    code,
    decline_code: declineCode,
    message: 'Your card was declined.',
    payment_method: { id: intent.payment_method, object: 'payment_method' },
  };
  Object.assign(intent, { status: 'requires_payment_method', last_payment_error: error });
  return { status: 402, body: { error: { ...error, payment_intent: { ...intent } } } };
}
