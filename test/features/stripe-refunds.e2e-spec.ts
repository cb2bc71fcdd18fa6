// Goal: prove what each answer of Stripe means for a refund, and that a refund returns money at most once.
// Method: let the service, with the real SDK, send its requests to the Stripe of test/stripe, and break requests there.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { FakeStripe, OVERLOADED, type StripeFault } from '../stripe/fake-stripe.js';
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
  service = await startService(database.url, { STRIPE_API_KEY: API_KEY, STRIPE_API_BASE: stripe.url });
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
