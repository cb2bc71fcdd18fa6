import { Stripe } from 'stripe';
import type { PaymentIntent } from './payment-intents.js';

export const WEBHOOK_SECRET = 'whsec_fake';

/** A snapshot event, with the members that real events have around those that the service reads. */
export interface StripeEventBody {
  id: string;
  object: 'event';
  type: string;
  created: number;
  data: { object: object };
}

let events = 0;

/** An event with the state of its object at this moment. */
export function eventOf(type: string, object: object): StripeEventBody {
  return {
    id: `evt_${String(++events).padStart(24, '0')}`,
    object: 'event',
    type,
    created: Math.floor(Date.now() / 1_000),
    ...{
      api_version: '2026-10-28.fake',
      livemode: false,
      pending_webhooks: 1,
      request: { id: null, idempotency_key: null },
    },
    data: { object: structuredClone(object) },
  };
}

/** The event that Stripe sends when an intent succeeds, fails or is canceled. */
export function paymentEvent(intent: PaymentIntent): StripeEventBody {
  const types: Partial<Record<PaymentIntent['status'], string>> = {
    succeeded: 'payment_intent.succeeded',
    canceled: 'payment_intent.canceled',
    requires_payment_method: 'payment_intent.payment_failed',
  };
  return eventOf(types[intent.status] ?? '', { ...intent, latest_charge: 'ch_3OfakeFakeFakeFake1234567' });
}

export interface Delivery {
  secret?: string;
  /** Seconds since 1970; now, if it is not given. */
  timestamp?: number;
}

/** Sends an event as Stripe does: the bytes of the body are signed by the helper of the SDK. */
export async function deliver(url: string, event: object, { secret = WEBHOOK_SECRET, timestamp }: Delivery = {}) {
  // Stripe indents its events, and the signature is of these bytes.
  const payload = JSON.stringify(event, null, 2);
  const signature = Stripe.webhooks.generateTestHeaderString({ payload, secret, ...(timestamp && { timestamp }) });
  const headers = { 'content-type': 'application/json; charset=utf-8', 'stripe-signature': signature };
  const answer = await fetch(`${url}/webhooks/stripe`, { method: 'POST', headers, body: payload });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

/** Stripe's charge of an intent, which has the metadata of the intent, at the time of a refund. */
export const refundEvent = (intent: PaymentIntent, amountRefunded: number): StripeEventBody =>
  eventOf('charge.refunded', {
    id: 'ch_3OfakeFakeFakeFake1234567',
    object: 'charge',
    amount: intent.amount,
    amount_refunded: amountRefunded,
    currency: intent.currency,
    metadata: intent.metadata,
    payment_intent: intent.id,
    payment_method_details: { card: { brand: 'visa', last4: '4242', fingerprint: 'fakeFakeFakeFake' }, type: 'card' },
    refunded: amountRefunded === intent.amount,
  });

export type DisputeEventName = 'created' | 'updated' | 'closed' | 'funds_withdrawn' | 'funds_reinstated';

export interface DisputeState {
  id?: string;
  amount?: number;
  status: string;
  /** Seconds after the first event of the dispute. */
  after?: number;
}

/** A dispute names its intent and has no metadata of the intent. */
export function disputeEvent(name: DisputeEventName, intent: PaymentIntent, state: DisputeState): StripeEventBody {
  const { id = 'du_1', amount = intent.amount, status, after = 0 } = state;
  const object = {
    id,
    object: 'dispute',
    amount,
    currency: intent.currency,
    status,
    payment_intent: intent.id,
    metadata: {},
  };
  return { ...eventOf(`charge.dispute.${name}`, object), created: 1_795_478_400 + after };
}
