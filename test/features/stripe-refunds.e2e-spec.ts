// Goal: prove what each answer of Stripe means for a refund, and that a refund returns money at most once.
// Method: let the service, with the real SDK, send its requests to the Stripe of test/stripe, and break requests there.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import type { StripePayments } from '../../src/charges/gateway/stripe/stripe.payments.js';
import { deliver, refundEvent, WEBHOOK_SECRET } from '../stripe/events.js';
import { FakeStripe, OVERLOADED, type StripeFault } from '../stripe/fake-stripe.js';
import type { PaymentIntent } from '../stripe/payment-intents.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';

const API_KEY = 'sk_test_fake';
const DAY_MS = 86_400_000;
/** The SDK repeats a request once after a reset connection, so the service sees the failure only if the repetition fails too. */
const LOSES_ANSWERS: StripeFault[] = [{ kind: 'loses the answer' }, { kind: 'loses the answer' }];

let database: TestDatabase;
let stripe: FakeStripe;
let service: TestService;
let chargeId: string;

beforeAll(async () => {
  database = await createDatabase();
  stripe = await FakeStripe.start({ apiKey: API_KEY });
  service = await startService(database.url, {
    STRIPE_API_KEY: API_KEY,
    STRIPE_API_BASE: stripe.url,
    STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
  });
});
beforeEach(async () => {
  chargeId = ((await service.charge('charged')).body as { id: string }).id;
  stripe.requests.length = 0;
});
afterEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await stripe?.close();
  await database?.drop();
});

/** Sends a refund with a key. Returns the status and the body of the reply. */
async function refund(key: string, body: object = {}): Promise<{ status: number; body: Record<string, unknown> }> {
  const reply = await service.http.post(`/charges/${chargeId}/refunds`).set('idempotency-key', key).send(body);
  return { status: reply.status, body: reply.body as Record<string, unknown> };
}

/** The refunds at Stripe of the charge, as pairs of our id and the amount. */
const refundsAtStripe = () =>
  stripe.refunds.all
    .filter(({ metadata }) => metadata['charge_id'] === chargeId)
    .map(({ metadata, amount }) => [metadata['refund_id'], amount]);

const intentId = () => stripe.intents.all.find(({ metadata }) => metadata['charge_id'] === chargeId)?.id ?? '';
/** Refunds money in the dashboard of Stripe. */
const refundAtStripe = (amount: number) =>
  stripe.refunds.create(
    new Map([
      ['payment_intent', intentId()],
      ['amount', String(amount)],
    ]),
  );
/** Makes the key of every refund older than it lives, at the service and at Stripe. */
async function outliveKeys(): Promise<void> {
  stripe.passTime(DAY_MS + 1_000);
  await database.sql(`UPDATE refunds SET created_at = created_at - interval '86401 seconds'`);
}

describe('a refund with Stripe', () => {
  it('returns money of the committed PaymentIntent under the id of the refund, once', async () => {
    const replies = [await refund('once', { amount: 500 }), await refund('once', { amount: 500 })];
    expect(replies[0]).toMatchObject({ status: 200, body: { status: 'succeeded', amount: 500 } });
    expect(replies[1]).toEqual(replies[0]);
    expect(refundsAtStripe()).toEqual([[replies[0]?.body['id'], 500]]);
    const [asked, ...others] = stripe.requests;
    expect(others).toEqual([]);
    expect([asked?.operation, asked?.key, asked?.form.get('payment_intent')]).toEqual([
      'refund',
      replies[0]?.body['id'],
      intentId(),
    ]);
  });

  it.each<[string, StripeFault[]]>([
    ['loses the answer', LOSES_ANSWERS],
    ['answers that it is overloaded', [{ kind: 'answers', answer: OVERLOADED }]],
    ['loses the request', [{ kind: 'loses the request' }, { kind: 'loses the request' }]],
  ])('stays pending if Stripe %s, and the retry finishes it once', async (_, faults) => {
    stripe.breakNext('refund', ...faults);
    expect(await refund('again')).toMatchObject({
      status: 503,
      body: { code: 'gateway_unavailable', outcome: 'unknown' },
    });
    const { status, body } = await refund('again');
    expect([status, refundsAtStripe()]).toEqual([200, [[body['id'], CHARGE.amount]]]);
  });

  it('records the failure of a refund that Stripe has given up', async () => {
    const body = { object: 'refund', status: 'failed', failure_reason: 'expired_or_canceled_card' };
    stripe.breakNext('refund', { kind: 'answers', answer: { status: 200, body } });
    const replies = [await refund('failed'), await refund('failed')];
    expect(replies[0]).toMatchObject({ status: 402, body: { failure_code: 'expired_or_canceled_card' } });
    expect(replies[1]).toEqual(replies[0]);
  });

  it.each([
    ['pays the money', 'succeeded', { status: 200, body: { status: 'succeeded' } }],
    ['gives the refund up', 'failed', { status: 402, body: { failure_code: 'expired_or_canceled_card' } }],
  ] as const)(
    'stays pending while Stripe processes the refund, and is decided if Stripe %s while the key replays the pending refund',
    async (_, status, reply) => {
      stripe.breakNext('refund', { kind: 'leaves pending' });
      for (let attempt = 0; attempt < 2; attempt++) {
        expect(await refund('processed')).toMatchObject({ status: 503, body: { code: 'gateway_unavailable' } });
      }
      stripe.refunds.decidePending(status);
      expect(await refund('processed')).toMatchObject(reply);
      expect(refundsAtStripe()).toHaveLength(1);
    },
  );

  it('that Stripe has made and given up can be asked for again, although Stripe has reported the refund', async () => {
    stripe.breakNext('refund', { kind: 'leaves pending' });
    expect((await refund('given-up', { amount: 500 })).status).toBe(503);
    const intent = stripe.intents.all.find(({ id }) => id === intentId());
    expect((await deliver(service.url, refundEvent(intent as PaymentIntent, 500))).status).toBe(200);
    stripe.refunds.decidePending('failed');
    expect((await refund('given-up', { amount: 500 })).status).toBe(402);
    const charge = (await service.http.get(`/charges/${chargeId}`)).body as object;
    expect(charge).toMatchObject({ amount_refunded: 0 });
    expect(await refund('again', {})).toMatchObject({ status: 200, body: { amount: CHARGE.amount } });
  });

  it('is not sent if the process was frozen for longer than the limit in time while it looked for the PaymentIntent', async () => {
    const hasty = await startService(database.url, {
      STRIPE_API_KEY: API_KEY,
      STRIPE_API_BASE: stripe.url,
      GATEWAY_TIMEOUT_MS: '300',
    });
    try {
      const { payments } = hasty.nest.get<{ payments: StripePayments }>(PaymentGateway);
      const find = payments.find.bind(payments);
      payments.find = async (charge) => {
        const payment = await find(charge);
        // The thread stands still, so the timer of the limit cannot end before this function.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
        return payment;
      };
      expect((await hasty.refund(chargeId, 'frozen')).body).toMatchObject({ outcome: 'unknown' });
      expect(stripe.operations).toEqual([]);
    } finally {
      await hasty.stop();
    }
  });

  it('is found in the list if Stripe returned the money and recorded a failure', async () => {
    stripe.breakNext('refund', { kind: 'fails after' });
    expect((await refund('recorded')).status).toBe(503);
    const { status, body } = await refund('recorded');
    expect([status, refundsAtStripe()]).toEqual([200, [[body['id'], CHARGE.amount]]]);
    expect(stripe.operations).toEqual(['refund', 'refund', 'list refunds']);
  });

  it('stays pending if Stripe returned nothing and recorded a failure', async () => {
    stripe.breakNext('refund', { kind: 'fails before' });
    expect((await refund('nothing')).status).toBe(503);
    expect((await refund('nothing')).status).toBe(503);
    expect(refundsAtStripe()).toEqual([]);
  });

  it('is only looked up when its key may have expired, so Stripe does not return the money twice', async () => {
    stripe.breakNext('refund', ...LOSES_ANSWERS);
    expect((await refund('old', { amount: 700 })).status).toBe(503);
    await outliveKeys();
    stripe.requests.length = 0;
    const { status, body } = await refund('old', { amount: 700 });
    expect([status, refundsAtStripe()]).toEqual([200, [[body['id'], 700]]]);
    expect(stripe.operations).toEqual(['list refunds']);
  });

  it('waits for a person if its key may have expired and Stripe does not know the refund', async () => {
    stripe.breakNext('refund', { kind: 'loses the request' }, { kind: 'loses the request' });
    expect((await refund('lost')).status).toBe(503);
    await outliveKeys();
    expect((await refund('lost')).body).toMatchObject({ code: 'refund_undecided', outcome: 'unknown' });
    expect(refundsAtStripe()).toEqual([]);
  });

  it.each([
    ['all of the money', CHARGE.amount, 'charge_already_refunded'],
    ['a part of the money', 1, 'amount_refused'],
  ])('fails for good if %s has been returned at Stripe already', async (_, amount, code) => {
    refundAtStripe(amount);
    const replies = [await refund('late'), await refund('late')];
    expect(replies[0]).toMatchObject({
      status: 402,
      body: { code: 'refund_failed', failure_code: code, outcome: 'final' },
    });
    expect(replies[1]).toEqual(replies[0]);
  });
});
