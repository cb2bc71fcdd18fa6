import { z } from 'zod';
import { paymentIntent } from '../gateway/stripe/stripe.intents.js';

interface EventHead {
  /** `evt_…`, the same at every delivery. */
  id: string;
  type: string;
  /** The charge of this service that the event names. Undefined if the event names only its PaymentIntent, as a dispute does. */
  charge: { account_id: string; id: string } | undefined;
  /** The id of the PaymentIntent that has taken the money. */
  intent_id: string;
}

/** An event about the decision on a payment. A later event may have overtaken it. */
export interface PaymentEvent extends EventHead {
  about: 'payment';
  intent: z.output<typeof payment>;
}

/** The parts of an event that its work needs. An event that cannot be matched yet is stored in this form. */
export type StripeEvent = PaymentEvent;

/** A signed event that does not have the expected form. The message does not quote the event, because it is logged. */
export class UnreadableEvent extends Error {
  override readonly name = 'UnreadableEvent';
}

const envelope = z.looseObject({
  id: z.string().regex(/^evt_\w{1,250}$/),
  type: z.string().max(255),
  data: z.looseObject({ object: z.unknown() }),
});

/** The metadata that this service gives to each PaymentIntent. Stripe copies them to its charges of the intent. */
const named = z.looseObject({
  metadata: z.looseObject({
    account_id: z.string().regex(/^[\w.-]{1,64}$/),
    charge_id: z.string().regex(/^ch_[\da-f]{32}$/),
  }),
});

// Not loose, because the event is stored in this form, and a card's details must not be stored.
const { id, status } = paymentIntent.shape;
const payment = z.object({
  id,
  status,
  amount: z.int(),
  currency: z.string(),
  last_payment_error: z.object({ code: z.string().optional(), decline_code: z.string().optional() }).nullish(),
});

const PAYMENT_EVENTS = ['payment_intent.succeeded', 'payment_intent.payment_failed', 'payment_intent.canceled'];

/**
 * Reads a signed event.
 *
 * @returns undefined for an event that is not for this service: of another type, or about a payment of another system at the same Stripe account
 * @throws UnreadableEvent
 */
export function readEvent(signed: unknown): StripeEvent | undefined {
  const { id, type, data } = parsed(envelope, signed, 'a signed body');
  const name = `${type} ${id}`;
  if (!PAYMENT_EVENTS.includes(type)) return undefined;
  const charge = nameIn(data.object);
  if (!charge) return undefined;
  const intent = parsed(payment, data.object, name);
  return { id, type, about: 'payment', charge, intent_id: intent.id, intent };
}

function nameIn(object: unknown): EventHead['charge'] {
  const { success, data } = named.safeParse(object);
  return success ? { account_id: data.metadata.account_id, id: data.metadata.charge_id } : undefined;
}

function parsed<T extends z.ZodType>(schema: T, value: unknown, name: string): z.output<T> {
  const { success, data, error } = schema.safeParse(value);
  if (success) return data;
  const wrong = error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new UnreadableEvent(`${name} does not have the expected form: ${wrong.join('; ')}`);
}
