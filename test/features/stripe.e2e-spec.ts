// Goal: prove what each answer of Stripe means for a charge, one test for each row of the table in docs/stripe.md, and that a charge takes money
// at most once, also if requests fail or arrive late.
// Method: let the service, with the real SDK, send its requests to the Stripe of test/stripe, and break requests there.
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { Charge } from '../../src/charges/charge.entity.js';
import { ChargeResolution } from '../../src/charges/charge-resolution.js';
import { CARD_TOKENS } from '../../src/charges/gateway/card-tokens.js';
import { type GatewayEvent, PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import type { Problem } from '../../src/http/problem.js';
import { Recovery } from '../../src/idempotency/index.js';
import {
  FakeStripe,
  FORBIDDEN,
  OVERLOADED,
  RATE_LIMITED,
  type StripeFault,
  type StripeOperation,
} from '../stripe/fake-stripe.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, spawnService } from '../support/process.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';

const API_KEY = 'sk_test_fake';
const DAY_MS = 86_400_000;
/** The SDK repeats a request once after a reset connection, so the service sees the failure only if the repetition fails too. */
const LOSES_ANSWERS: StripeFault[] = [{ kind: 'loses the answer' }, { kind: 'loses the answer' }];
const LOSES_REQUESTS: StripeFault[] = [{ kind: 'loses the request' }, { kind: 'loses the request' }];

let database: TestDatabase;
let stripe: FakeStripe;
let service: TestService;
/** The events of the gateway since the test began. */
const events: GatewayEvent[] = [];

const settings = () => ({ STRIPE_API_KEY: API_KEY, STRIPE_API_BASE: stripe.url });

beforeAll(async () => {
  database = await createDatabase();
  stripe = await FakeStripe.start({ apiKey: API_KEY });
  service = await startService(database.url, settings());
  service.nest.get(PaymentGateway).events.subscribe((event) => events.push(event));
});
afterEach(async () => {
  events.length = 0;
  await reset(database);
  stripe.requests.length = 0;
});
afterAll(async () => {
  await killAll();
  Barrier.openAll();
  await service?.stop();
  await stripe?.close();
  await database?.drop();
});

/** The only charge in the database. */
async function charge(): Promise<Charge> {
  const [row, ...others] = await database.sql<Charge>('SELECT * FROM charges');
  if (!row || others.length > 0) throw new Error('expected one charge');
  return row;
}

/** The PaymentIntents at Stripe for a charge, oldest first. */
const intentsOf = ({ id }: { id: string }) =>
  stripe.intents.all.filter(({ metadata }) => metadata['charge_id'] === id).reverse();

/** Sends POST /charges, and expects that the outcome is unknown. */
async function expectUnknown(key = 'stripe'): Promise<void> {
  const reply = await service.charge(key);
  expect({ status: reply.status, body: reply.body as unknown }).toMatchObject({
    status: 503,
    body: { code: 'gateway_unavailable', outcome: 'unknown', retryable: true },
  });
  expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, in_progress: 1 });
}

/** Sends POST /charges, and expects one charge that has taken money once. */
async function expectCharged(key = 'stripe'): Promise<void> {
  const reply = await service.charge(key);
  expect({ status: reply.status, body: reply.body as unknown }).toMatchObject({ status: 200 });
  expect(stripe.capturesOf((await charge()).id)).toBe(1);
  expect(await effects(database)).toEqual({ ...NOTHING, succeeded: 1, completed: 1 });
}

/** Sends POST /charges twice, and expects the same 402, and a canceled PaymentIntent or none. */
async function expectDeclined(declineCode: string, body: object = CHARGE): Promise<void> {
  const replies = [await service.charge('stripe', body), await service.charge('stripe', body)];
  expect(replies.map(({ status }) => status)).toEqual([402, 402]);
  expect(replies[0]?.body).toMatchObject({ code: 'card_declined', outcome: 'final', decline_code: declineCode });
  expect(replies[1]?.text).toBe(replies[0]?.text);
  expect(intentsOf(await charge()).map(({ status }) => status)).not.toContain('succeeded');
  expect(await effects(database)).toEqual({ ...NOTHING, failed: 1, completed: 1 });
}

/** The value of a fault's counter in /metrics. */
async function faults(kind: string): Promise<number> {
  const { text } = await fetch(`${service.url}/metrics`).then(async (page) => ({ text: await page.text() }));
  return Number(new RegExp(`^payment_gateway_faults_total\\{fault="${kind}"\\} (\\d+)$`, 'm').exec(text)?.[1]);
}

/** Runs `act`, and expects that it raises the alarm: an error in the log, and a metric. */
async function expectAlarm(kind: string, act: () => Promise<unknown>): Promise<void> {
  const logged: unknown[] = [];
  const listener = { log: () => undefined, warn: () => undefined, error: (...line: unknown[]) => logged.push(...line) };
  Logger.overrideLogger(listener);
  try {
    await act();
  } finally {
    Logger.overrideLogger(false);
  }
  expect(String(logged[0])).toMatch(/^StripeFailure: Stripe: Stripe\w+Error, status 40\d/);
  // The page of metrics is up to one second old.
  await until(async () => (await faults(kind)) > 0);
}

/** Another attempt at the charge, as a process makes it that has taken the request over. */
const authorize = (pending: Charge) => service.nest.get(PaymentGateway).authorize(pending, performance.now());

describe('an answer of Stripe', () => {
  // Only a fault on our side raises an alarm.
  afterEach(() => expect(events).toEqual([]));

  it('charges with a PaymentIntent that is created under the id of the charge, committed, and confirmed off-session', async () => {
    await expectCharged();
    const { id } = await charge();
    expect(stripe.operations).toEqual(['create', 'confirm']);
    const [create, confirm] = stripe.requests;
    expect(create?.key).toBe(id);
    expect(Object.fromEntries(create?.form ?? [])).toEqual({
      amount: '1999',
      currency: 'eur',
      'allowed_payment_method_types[0]': 'card',
      capture_method: 'automatic',
      payment_method: 'pm_card_visa',
      'metadata[charge_id]': id,
      'metadata[account_id]': 'acct_demo',
    });
    const [intent] = intentsOf({ id });
    expect(await database.sql('SELECT charge_id, payment_intent, refusal FROM stripe_payments')).toEqual([
      { charge_id: id, payment_intent: intent?.id, refusal: null },
    ]);
    expect(confirm?.path).toBe(`/v1/payment_intents/${intent?.id}/confirm`);
    expect(Object.fromEntries(confirm?.form ?? [])).toEqual({ off_session: 'true', error_on_requires_action: 'true' });
    await expectCharged();
    expect(stripe.requests).toHaveLength(2);
  });

  it.each([
    ['tok_visa', 'pm_card_visa', 200],
    ['tok_mastercard', 'pm_card_mastercard', 200],
    ['tok_chargeDeclined', 'pm_card_visa_chargeDeclined', 402],
    ['tok_insufficientFunds', 'pm_card_visa_chargeDeclinedInsufficientFunds', 402],
    ['tok_slow', 'pm_card_visa', 200],
    ['tok_timeout', 'pm_card_visa', 200],
    ['tok_unavailable', 'pm_card_visa', 200],
  ])('pays the token %s with the test payment method %s', async (token, paymentMethod, status) => {
    expect((await service.charge('stripe', { ...CHARGE, source: token })).status).toBe(status);
    expect(stripe.requests[0]?.form.get('payment_method')).toBe(paymentMethod);
    expect(CARD_TOKENS).toContain(token);
  });

  it.each([
    ['tok_chargeDeclined', 'generic_decline'],
    ['tok_insufficientFunds', 'insufficient_funds'],
  ])('declines %s with %s, after the PaymentIntent is canceled', async (source, declineCode) => {
    await expectDeclined(declineCode, { ...CHARGE, source });
    expect(stripe.operations).toEqual(['create', 'confirm', 'cancel']);
    expect(intentsOf(await charge())).toMatchObject([{ status: 'canceled' }]);
  });

  it('declines with the code that Stripe gives if there is no decline code', async () => {
    const id = 'pi_expired';
    const error = { type: 'card_error', code: 'expired_card' };
    const intent = { id, status: 'requires_payment_method', last_payment_error: error };
    stripe.breakNext('confirm', {
      kind: 'answers',
      answer: { status: 402, body: { error: { ...error, payment_intent: intent } } },
    });
    stripe.breakNext('cancel', { kind: 'answers', answer: { status: 200, body: { id, status: 'canceled' } } });
    await expectDeclined('expired_card');
  });

  it('replaces a decline code that could be a card number', async () => {
    stripe.breakNext('confirm', { kind: 'decides', card: { declines: '4242424242424242' } });
    await expectDeclined('generic_decline');
  });

  it('declines with authentication_required if the card wants 3-D Secure', async () => {
    stripe.breakNext('confirm', { kind: 'decides', card: 'asks for 3-D Secure' });
    await expectDeclined('authentication_required');
    expect(intentsOf(await charge())).toMatchObject([{ status: 'canceled' }]);
  });

  it('declines with authentication_required if the PaymentIntent waits for the customer, and cancels the PaymentIntent', async () => {
    stripe.breakNext('confirm', { kind: 'decides', card: 'waits for the customer' });
    await expectDeclined('authentication_required');
    expect(intentsOf(await charge())).toMatchObject([{ status: 'canceled' }]);
  });

  it('leaves the charge pending while Stripe processes the payment, and does not confirm it again', async () => {
    stripe.breakNext('confirm', { kind: 'decides', card: 'is processed later' });
    await expectUnknown();
    await expectUnknown();
    const [intent] = intentsOf(await charge());
    Object.assign(intent ?? {}, { status: 'succeeded', amount_received: 1999 });
    await expectCharged();
    expect(stripe.operations).toEqual(['create', 'confirm', 'retrieve', 'retrieve']);
  });

  it('declines with canceled if a person has canceled the PaymentIntent at Stripe', async () => {
    stripe.breakNext('confirm', ...LOSES_REQUESTS);
    await expectUnknown();
    Object.assign(intentsOf(await charge())[0] ?? {}, { status: 'canceled' });
    await expectDeclined('canceled');
  });

  it.each([
    ['amount_too_small', { ...CHARGE, amount: 1 }],
    ['currency_refused', { ...CHARGE, currency: 'nok' }],
  ])(
    'declines with %s what Stripe refuses before there is a PaymentIntent, without an alarm',
    async (declineCode, body) => {
      await expectDeclined(declineCode, body);
      expect(stripe.operations).toEqual(['create']);
      expect(await database.sql('SELECT payment_intent, refusal FROM stripe_payments')).toEqual([
        { payment_intent: null, refusal: declineCode },
      ]);
    },
  );

  it.each<[string, StripeOperation, StripeFault[], StripeOperation[]]>([
    ['loses the request to create', 'create', LOSES_REQUESTS, ['create', 'confirm']],
    ['loses the answer to create', 'create', LOSES_ANSWERS, ['create', 'confirm']],
    ['loses the request to confirm', 'confirm', LOSES_REQUESTS, ['retrieve', 'confirm']],
    ['loses the answer to confirm', 'confirm', LOSES_ANSWERS, ['retrieve']],
    ['limits the rate of creations', 'create', [{ kind: 'answers', answer: RATE_LIMITED }], ['create', 'confirm']],
    [
      'limits the rate of confirmations',
      'confirm',
      [{ kind: 'answers', answer: RATE_LIMITED }],
      ['retrieve', 'confirm'],
    ],
    ['is overloaded', 'confirm', [{ kind: 'answers', answer: OVERLOADED }], ['retrieve', 'confirm']],
    ['fails to confirm, and records that', 'confirm', [{ kind: 'fails before' }], ['retrieve', 'confirm']],
    ['confirms, but records a failure', 'confirm', [{ kind: 'fails after' }], ['retrieve']],
    [
      'answers something else',
      'create',
      [{ kind: 'answers', answer: { status: 200, body: {} } }],
      ['create', 'confirm'],
    ],
    [
      'answers with another object',
      'confirm',
      [{ kind: 'answers', answer: { status: 200, body: { id: 'cus_1' } } }],
      ['retrieve', 'confirm'],
    ],
  ])('leaves the charge pending if Stripe %s, and a retry charges once', async (_, operation, broken, then) => {
    stripe.breakNext(operation, ...broken);
    await expectUnknown();
    stripe.requests.length = 0;
    await expectCharged();
    expect(stripe.operations).toEqual(then);
  });

  it('leaves the charge pending if Stripe cannot be reached, and a retry charges once', async () => {
    const closed = await FakeStripe.start({ apiKey: API_KEY });
    const { url } = closed;
    await closed.close();
    const lost = await startService(database.url, { ...settings(), STRIPE_API_BASE: url });
    try {
      expect((await lost.charge('stripe')).body).toMatchObject({ code: 'gateway_unavailable', outcome: 'unknown' });
    } finally {
      await lost.stop();
    }
    await expectCharged();
  });

  it('charges although Stripe has recorded a failure under the id of the charge, because it creates another PaymentIntent', async () => {
    stripe.breakNext('create', { kind: 'fails after' });
    await expectUnknown();
    await expectCharged();
    const { id } = await charge();
    expect(stripe.operations).toEqual(['create', 'create', 'create', 'confirm']);
    expect(stripe.requests.map(({ key }) => key === id)).toEqual([true, true, false, false]);
    expect(intentsOf({ id }).map(({ status }) => status)).toEqual(['requires_confirmation', 'succeeded']);
  });

  it('leaves the charge to the attempt that uses the key if another attempt meets a 409', async () => {
    const barrier = new Barrier();
    stripe.breakNext('create', { kind: 'answers late', until: barrier.pass });
    const first = service.charge('stripe');
    await barrier.reached.given;
    const failure = await authorize(await charge()).catch((error: unknown) => error as Problem);
    expect(failure).toMatchObject({ code: 'gateway_unavailable', cause: { fault: undefined } });
    expect(String((failure as Problem).cause)).toMatch(/StripeAPIError, status 409, code idempotency_key_in_use/);
    barrier.open();
    expect((await first).status).toBe(200);
    await expectCharged();
  });

  it('answers 504 if Stripe does not answer in time, and recovery finishes the charge', async () => {
    const barrier = new Barrier();
    const hasty = await startService(database.url, { ...settings(), GATEWAY_TIMEOUT_MS: '300' });
    try {
      // On a busy machine the timeout may end before the request to confirm is sent.
      stripe.breakNext('confirm', { kind: 'answers late', until: barrier.pass });
      const late = await hasty.charge('stripe');
      expect({ status: late.status, body: late.body as unknown }).toMatchObject({
        status: 504,
        body: { code: 'gateway_timeout', outcome: 'unknown' },
      });
    } finally {
      barrier.open();
      await hasty.stop();
    }
    expect(await service.nest.get(Recovery).runOnce()).toBe(1);
    await expectCharged();
  });
});

describe('a fault on our side', () => {
  it('raises an alarm and leaves the charge pending if Stripe knows the key with other parameters', async () => {
    stripe.breakNext('create', { kind: 'answers', answer: OVERLOADED });
    await expectUnknown();
    const { id } = await charge();
    await fetch(`${stripe.url}/v1/payment_intents`, {
      method: 'POST',
      headers: { authorization: `Bearer ${API_KEY}`, 'idempotency-key': id },
      body: new URLSearchParams({ amount: '50', currency: 'eur', payment_method: 'pm_card_visa' }),
    });
    await expectAlarm('idempotency', expectUnknown);
  });

  it('raises an alarm and leaves the charge pending if Stripe refuses the request', async () => {
    stripe.breakNext('create', { kind: 'answers', answer: OVERLOADED });
    await expectUnknown();
    await database.sql(`UPDATE charges SET source = 'tok_of_a_later_version'`);
    await expectAlarm('invalid_request', () =>
      expect(authorizePending()).rejects.toMatchObject({ code: 'gateway_unavailable' }),
    );
  });

  it('raises an alarm and leaves the charge pending if Stripe does not know the committed PaymentIntent', async () => {
    stripe.breakNext('confirm', ...LOSES_REQUESTS);
    await expectUnknown();
    await database.sql(`UPDATE stripe_payments SET payment_intent = 'pi_of_another_account'`);
    await expectAlarm('invalid_request', expectUnknown);
  });

  it('raises an alarm and leaves the charge pending if the API key lacks the right', async () => {
    stripe.breakNext('create', { kind: 'answers', answer: FORBIDDEN });
    await expectAlarm('permission', expectUnknown);
    await expectCharged();
  });

  it('raises an alarm if Stripe does not know the API key, and shows the key in no log and no reply', async () => {
    const key = 'sk_test_fakeButUnknown';
    const served = await spawnService(database.url, { ...settings(), STRIPE_API_KEY: key, LOG_LEVEL: 'trace' });
    const headers = { 'content-type': 'application/json', 'idempotency-key': 'stripe' };
    const reply = await fetch(`${served.url}/charges`, { method: 'POST', headers, body: JSON.stringify(CHARGE) });
    const body = await reply.text();
    expect({ status: reply.status, body: JSON.parse(body) as unknown }).toMatchObject({
      status: 503,
      body: { code: 'gateway_unavailable', outcome: 'unknown' },
    });
    const metrics = await fetch(`${served.url}/metrics`).then((page) => page.text());
    expect(metrics).toContain('payment_gateway_faults_total{fault="authentication"} 1');
    served.signal('SIGTERM');
    await served.ended;
    const log = served.output.join('\n');
    expect(log).toContain('Stripe: StripeAuthenticationError, status 401, request req_fake');
    expect(log + body + metrics).not.toMatch(/fakeButUnknown|Invalid API Key/);
    await expectCharged();
  });

  it('stops the start with the name of the package if the SDK is not installed', async () => {
    const hidden = encodeURIComponent(`
      export const resolve = (name, context, next) => {
        if (name === 'stripe') throw Object.assign(new Error(), { code: 'ERR_MODULE_NOT_FOUND' });
        return next(name, context);
      }`);
    const hide = `import { register } from 'node:module'; register("data:text/javascript,${hidden}");`;
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(hide)}`;
    await expect(spawnService(database.url, { ...settings(), NODE_OPTIONS })).rejects.toThrow(
      /\nThe settings are not valid:\nSTRIPE_API_KEY: expected the npm package stripe/,
    );
  });

  async function authorizePending() {
    return authorize(await charge());
  }
});

describe('a charge at Stripe', () => {
  it.each<[string, StripeOperation, StripeFault[]]>([
    ['the answer to create', 'create', LOSES_ANSWERS],
    ['the request to confirm', 'confirm', LOSES_REQUESTS],
    ['the answer to confirm', 'confirm', LOSES_ANSWERS],
  ])('takes money once if %s is lost and the retry comes after the life of the key', async (_, operation, lost) => {
    stripe.breakNext(operation, ...lost);
    await expectUnknown();
    stripe.passTime(2 * DAY_MS);
    await expectCharged();
  });

  it('confirms only the PaymentIntent that was committed first, if a frozen attempt creates another one after the life of the key', async () => {
    const frozen = new Barrier();
    stripe.breakNext('create', { kind: 'delays the request', until: frozen.pass });
    const first = service.charge('stripe');
    await frozen.reached.given;
    const pending = await charge();
    expect(await authorize(pending)).toEqual({ status: 'succeeded' });
    stripe.passTime(2 * DAY_MS);
    frozen.open();
    expect((await first).status).toBe(200);
    expect(intentsOf(pending).map(({ status }) => status)).toEqual(['succeeded', 'requires_confirmation']);
  });

  it('stays declined if a frozen attempt confirms after the decline, although the card would pay now', async () => {
    const frozen = new Barrier();
    stripe.breakNext(
      'confirm',
      { kind: 'delays the request', until: frozen.pass },
      { kind: 'decides', card: { declines: 'do_not_honor' } },
    );
    const first = service.charge('stripe');
    await frozen.reached.given;
    const pending = await charge();
    expect(await authorize(pending)).toEqual({ status: 'failed', declineCode: 'do_not_honor' });
    stripe.passTime(2 * DAY_MS);
    frozen.open();
    expect((await first).body).toMatchObject({ code: 'card_declined', decline_code: 'do_not_honor' });
    expect(stripe.capturesOf(pending.id)).toBe(0);
  });

  it('has succeeded for all attempts if one attempt is declined and another one succeeds before the PaymentIntent is canceled', async () => {
    const declining = new Barrier();
    stripe.breakNext('confirm', { kind: 'decides', card: { declines: 'do_not_honor' } });
    stripe.breakNext('cancel', { kind: 'delays the request', until: declining.pass });
    const first = service.charge('stripe');
    await declining.reached.given;
    const pending = await charge();
    const [intent] = intentsOf(pending);
    const headers = { authorization: `Bearer ${API_KEY}` };
    await fetch(`${stripe.url}/v1/payment_intents/${intent?.id}/confirm`, { method: 'POST', headers });
    declining.open();
    expect((await first).status).toBe(200);
    expect(stripe.capturesOf(pending.id)).toBe(1);
  });

  it('never needs a person to decide it, however old it is', async () => {
    stripe.breakNext('confirm', ...LOSES_REQUESTS);
    await expectUnknown();
    await database.sql(`UPDATE charges SET created_at = now() - interval '30 days'`);
    const resolution = service.nest.get(ChargeResolution);
    expect(await resolution.unresolved()).toEqual([]);
    const { id } = await charge();
    await expect(resolution.resolve(id, 'failed')).rejects.toThrow(`${id}: the service can always ask this gateway`);
    expect(await service.nest.get(Recovery).runOnce()).toBe(1);
    await expectCharged();
  });

  it('is declined later if the answer to the cancellation was lost', async () => {
    stripe.breakNext('cancel', ...LOSES_ANSWERS);
    const source = 'tok_insufficientFunds';
    expect((await service.charge('stripe', { ...CHARGE, source })).status).toBe(503);
    await expectDeclined('insufficient_funds', { ...CHARGE, source });
  });

  it('confirms nothing if the PaymentIntent could not be committed', async () => {
    await database.sql('ALTER TABLE stripe_payments ADD CONSTRAINT broken CHECK (false)');
    try {
      expect((await service.charge('stripe')).body).toMatchObject({ outcome: 'unknown' });
      expect(stripe.operations).toEqual(['create']);
    } finally {
      await database.sql('ALTER TABLE stripe_payments DROP CONSTRAINT broken');
    }
    await expectCharged();
  });

  it('is refused for all attempts if one attempt was refused first, although Stripe accepts the amount now', async () => {
    const frozen = new Barrier();
    stripe.breakNext(
      'create',
      { kind: 'delays the request', until: frozen.pass },
      {
        kind: 'answers',
        answer: {
          status: 400,
          body: { error: { type: 'invalid_request_error', code: 'amount_too_small', param: 'amount' } },
        },
      },
    );
    const first = service.charge('stripe');
    await frozen.reached.given;
    const pending = await charge();
    expect(await authorize(pending)).toEqual({ status: 'failed', declineCode: 'amount_too_small' });
    frozen.open();
    expect((await first).body).toMatchObject({ decline_code: 'amount_too_small' });
    expect(stripe.capturesOf(pending.id)).toBe(0);
  });

  it.each([1, 64])('takes money once for each of 40 concurrent charges with groups of up to %i', async (size) => {
    const grouped = await startService(database.url, { ...settings(), IDEMPOTENCY_GROUP_SIZE: String(size) });
    try {
      const keys = Array.from({ length: 40 }, (_, i) => `concurrent_${i}`);
      const replies = await Promise.all(keys.flatMap((key) => [grouped.charge(key), grouped.charge(key)]));
      expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
      const ids = new Set(replies.map(({ body }) => (body as { id: string }).id));
      expect([...ids].map((id) => stripe.capturesOf(id))).toEqual(keys.map(() => 1));
    } finally {
      await grouped.stop();
    }
  });
});
