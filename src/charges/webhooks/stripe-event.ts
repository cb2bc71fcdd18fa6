import { z } from 'zod';
import { paymentIntent } from '../gateway/stripe/stripe.payment-intents.js';

interface EventHead {
  /** `evt_…`, the same at every delivery. */
  id: string;
  type: string;
  /** Seconds since 1970. */
  created: number;
  /** The charge of this service that the event names. Undefined if the event names only its PaymentIntent, as a dispute does. */
  charge: { account_id: string; id: string } | undefined;
  /** The PaymentIntent that the event is about. */
  intent_id: string;
}

/** An event about the decision on a payment. A later event may have overtaken it. */
export interface PaymentEvent extends EventHead {
  about: 'payment';
  intent: z.output<typeof payment>;
}

/** An event about the sum of all refunds of a payment. A later event may have a larger sum. */
export interface RefundEvent extends EventHead {
  about: 'refund';
  refunded: z.output<typeof refunded>;
}

export interface DisputeEvent extends EventHead {
  about: 'dispute';
  dispute: z.output<typeof dispute>;
}

/** The parts of an event that its work needs. An event that cannot be matched yet is stored in this form. */
export type StripeEvent = PaymentEvent | RefundEvent | DisputeEvent;

/** A signed event that does not have the expected form. The message does not quote the event, because it is logged. */
export class UnreadableEvent extends Error {
  override readonly name = 'UnreadableEvent';
}

const envelope = z.looseObject({
  id: z.string().regex(/^evt_\w{1,250}$/),
  type: z.string().max(255),
  created: z.int(),
  data: z.looseObject({ object: z.unknown() }),
});

/** The metadata that this service gives to each PaymentIntent. Stripe copies them to its charges of the intent. */
const named = z.looseObject({
  metadata: z.looseObject({
    account_id: z.string().regex(/^[\w.-]{1,64}$/),
    charge_id: z.string().regex(/^ch_[\da-f]{32}$/),
  }),
});

// The objects are not loose, because an event is stored in this form, and the details of a card must not be stored.
const { id, status } = paymentIntent.shape;
const money = { amount: z.int(), currency: z.string() };
const payment = z.object({
  id,
  status,
  ...money,
  last_payment_error: z.object({ code: z.string().optional(), decline_code: z.string().optional() }).nullish(),
});
const refunded = z.object({ payment_intent: id, ...money, amount_refunded: z.int().min(0) });
const ofIntent = z.looseObject({ payment_intent: id });
const dispute = z.object({ id: z.string().regex(/^\w{1,255}$/), ...money, status: z.string() });

const PAYMENT_EVENTS = ['payment_intent.succeeded', 'payment_intent.payment_failed', 'payment_intent.canceled'];
const REFUND_EVENT = 'charge.refunded';
const DISPUTE_EVENT = /^charge\.dispute\.(created|updated|closed|funds_withdrawn|funds_reinstated)$/;

/**
 * Reads a signed event.
 *
 * @returns undefined for an event that is not for this service: of another type, or about a payment of another system at the same Stripe account
 * @throws UnreadableEvent
 */
export function readEvent(signed: unknown): StripeEvent | undefined {
  const { id, type, created, data } = parsed(envelope, signed, 'a signed body');
  const { object } = data;
  const read = <T extends z.ZodType>(schema: T) => parsed(schema, object, `${type} ${id}`);
  const head = { id, type, created, charge: nameIn(object) };
  if (DISPUTE_EVENT.test(type)) {
    // A payment without an intent is never ours.
    const { success, data: subject } = ofIntent.safeParse(object);
    return success
      ? { ...head, charge: undefined, about: 'dispute', intent_id: subject.payment_intent, dispute: read(dispute) }
      : undefined;
  }
  if (!head.charge) return undefined;
  if (PAYMENT_EVENTS.includes(type)) {
    const intent = read(payment);
    return { ...head, about: 'payment', intent_id: intent.id, intent };
  }
  if (type !== REFUND_EVENT) return undefined;
  const sum = read(refunded);
  return { ...head, about: 'refund', intent_id: sum.payment_intent, refunded: sum };
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
