// Goal: prove that an event of Stripe takes effect once, before, after or instead of Stripe's reply, and that no event is lost.
// Method: let the service charge through the Stripe of test/stripe, and send it events that the SDK's own helper has signed.
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { Charge } from '../../src/charges/charge.entity.js';
import { StripePayments } from '../../src/charges/gateway/stripe/stripe.payments.js';
import type { Outcome } from '../../src/charges/webhooks/outcome.js';
import { UnmatchedEvents } from '../../src/charges/webhooks/unmatched-events.js';
import { WebhookEvents } from '../../src/charges/webhooks/webhook-events.js';
import { Recovery } from '../../src/idempotency/index.js';
import { deliver, disputeEvent, eventOf, paymentEvent, refundEvent, WEBHOOK_SECRET } from '../stripe/events.js';
import { FakeStripe, type StripeFault } from '../stripe/fake-stripe.js';
import { connect, createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';

const API_KEY = 'sk_test_fake';
const RECEIVED = { status: 200, body: { received: true } };
/** The SDK repeats a request once after a reset connection. */
const LOSES_ANSWERS: StripeFault[] = [{ kind: 'loses the answer' }, { kind: 'loses the answer' }];

let database: TestDatabase;
let stripe: FakeStripe;
let service: TestService;
let replica: TestService;

beforeAll(async () => {
  database = await createDatabase();
  stripe = await FakeStripe.start({ apiKey: API_KEY });
  const settings = {
    STRIPE_API_KEY: API_KEY,
    STRIPE_API_BASE: stripe.url,
    STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
    // Shorter than the other limits of tests, because some requests wait for a holder that never ends.
    IDEMPOTENCY_WAIT_MS: '20000',
  };
  service = await startService(database.url, settings);
  replica = await startService(database.url, settings);
});
afterEach(async () => {
  Barrier.openAll();
  await reset(database);
  stripe.requests.length = 0;
});
afterAll(async () => {
  await service?.stop();
  await replica?.stop();
  await stripe?.close();
  await database?.drop();
});

const SUCCEEDED = { ...NOTHING, succeeded: 1, completed: 1 };
const FAILED = { ...NOTHING, failed: 1, completed: 1 };
const PENDING = { ...NOTHING, pending: 1, in_progress: 1 };

/** The only charge in the database. */
async function charge(): Promise<Charge> {
  const [row, ...others] = await database.sql<Charge>('SELECT * FROM charges');
  if (!row || others.length > 0) throw new Error('expected one charge');
  return row;
}

/** The newest intent at Stripe for the only charge. */
async function intent() {
  const { id } = await charge();
  const found = stripe.intents.all.find(({ metadata }) => metadata['charge_id'] === id);
  if (!found) throw new Error('expected an intent');
  return found;
}

/** Sends a charge whose confirmation Stripe executes and does not answer, so that the charge is pending. */
async function loseReply(key: string, body: object = CHARGE): Promise<void> {
  stripe.breakNext('confirm', ...LOSES_ANSWERS);
  expect((await service.charge(key, body)).status).toBe(503);
  expect(await effects(database)).toEqual(PENDING);
}

const inbox = () =>
  database.sql<{ account_id: string; message_id: string }>(
    `SELECT account_id, message_id FROM processed_messages WHERE consumer = 'stripe' ORDER BY message_id`,
  );
const outbox = async () =>
  (await database.sql<{ id: string }>('SELECT id FROM outbox ORDER BY id')).map(({ id }) => id);
const unmatched = () => database.sql('SELECT account_id, event_id, charge_id FROM unmatched_events');

/** Runs `act`, and returns the errors that were logged in the meantime. */
async function errorsDuring(act: () => Promise<unknown>): Promise<string[]> {
  const logged: string[] = [];
  const listener = { log: () => undefined, warn: () => undefined, error: (line: unknown) => logged.push(String(line)) };
  Logger.overrideLogger(listener);
  try {
    await act();
  } finally {
    Logger.overrideLogger(false);
  }
  return logged;
}

/** Runs `act` while every commit that has done `write` to `table` fails. */
async function withoutCommits(write: 'INSERT' | 'DELETE', table: string, act: () => Promise<unknown>): Promise<void> {
  await database.sql(
    `CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'crash'; END $$`,
  );
  await database.sql(
    `CREATE CONSTRAINT TRIGGER crash AFTER ${write} ON ${table} DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION crash()`,
  );
  try {
    await act();
  } finally {
    await database.sql('DROP FUNCTION crash CASCADE');
  }
}

describe('the signature', () => {
  it('refuses an event with a wrong signature, an old timestamp or no signature, and records nothing', async () => {
    await loseReply('signed');
    const event = paymentEvent(await intent());
    const old = Math.floor(Date.now() / 1_000) - 301;
    const answers = [
      await deliver(service.url, event, { secret: 'whsec_other' }),
      await deliver(service.url, event, { timestamp: old }),
    ];
    for (const { status, body } of answers) {
      expect([status, body['code'], body['outcome']]).toEqual([400, 'signature_invalid', 'not_started']);
    }
    const unsigned = await service.http.post('/webhooks/stripe').send(event);
    const empty = await service.http.post('/webhooks/stripe').set('content-type', 'application/json');
    expect([unsigned.status, empty.status]).toEqual([400, 400]);
    expect([await effects(database), await inbox()]).toEqual([PENDING, []]);
  });

  it('accepts an event that is just young enough, and needs no API key and no idempotency key', async () => {
    const own = await startService(database.url, {
      API_KEYS: 'acct_demo:sk_demo',
      STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
    });
    try {
      const event = eventOf('payment_intent.succeeded', { id: 'pi_1', metadata: {} });
      const timestamp = Math.floor(Date.now() / 1_000) - 240;
      expect(await deliver(own.url, event, { timestamp })).toEqual(RECEIVED);
    } finally {
      await own.stop();
    }
  });

  it('is of the bytes that were sent, so a body that is only equal as JSON is refused', async () => {
    const { Stripe } = await import('stripe');
    const event = eventOf('payment_intent.succeeded', { id: 'pi_1', metadata: {} });
    const signature = Stripe.webhooks.generateTestHeaderString({
      payload: JSON.stringify(event, null, 2),
      secret: WEBHOOK_SECRET,
    });
    const answer = await service.http.post('/webhooks/stripe').set('stripe-signature', signature).send(event);
    expect(answer.status).toBe(400);
  });

  it('is not asked for if STRIPE_WEBHOOK_SECRET is not set, because the route does not exist then', async () => {
    const own = await startService(database.url);
    try {
      expect((await deliver(own.url, eventOf('payment_intent.succeeded', {}))).status).toBe(404);
    } finally {
      await own.stop();
    }
  });

  it('does not protect the service from a body that is too large', async () => {
    const event = eventOf('payment_intent.succeeded', { description: 'x'.repeat(256 * 1024) });
    expect((await deliver(service.url, event)).status).toBe(413);
  });
});

describe('an event about a payment', () => {
  it('settles a charge whose reply was lost, and the retry of the client gets the recorded bytes without a further request to Stripe', async () => {
    await loseReply('instead');
    expect(await deliver(service.url, paymentEvent(await intent()))).toEqual(RECEIVED);
    expect(await effects(database)).toEqual(SUCCEEDED);
    const asked = stripe.requests.length;
    const replies = [await service.charge('instead'), await replica.charge('instead')];
    expect(replies.map(({ status }) => status)).toEqual([200, 200]);
    expect(replies[0]?.headers['idempotent-replayed']).toBe('true');
    expect(replies[1]?.text).toBe(replies[0]?.text);
    expect(stripe.requests).toHaveLength(asked);
    expect(await outbox()).toEqual([`charge.succeeded.${(await charge()).id}`]);
  });

  it('settles a charge before the reply of Stripe arrives, and the client that waits gets the recorded reply', async () => {
    const answer = new Barrier();
    stripe.breakNext('confirm', { kind: 'answers late', until: answer.pass });
    const waiting = service.charge('before');
    await answer.reached.given;
    expect(await deliver(replica.url, paymentEvent(await intent()))).toEqual(RECEIVED);
    expect(await effects(database)).toEqual(SUCCEEDED);
    answer.open();
    const reply = await waiting;
    expect(reply.status).toBe(200);
    expect((await replica.charge('before')).text).toBe(reply.text);
    expect(await outbox()).toHaveLength(1);
  });

  it('changes nothing after the reply, and is recorded', async () => {
    const reply = await service.charge('after');
    const event = paymentEvent(await intent());
    expect(await deliver(service.url, event)).toEqual(RECEIVED);
    expect(await effects(database)).toEqual(SUCCEEDED);
    expect((await service.charge('after')).text).toBe(reply.text);
    expect(await inbox()).toEqual([{ account_id: 'acct_demo', message_id: event.id }]);
    expect(await outbox()).toHaveLength(1);
  });

  it('takes effect once if it is sent ten times at once to two replicas, and every delivery gets 200', async () => {
    await loseReply('ten');
    const event = paymentEvent(await intent());
    const urls = Array.from({ length: 10 }, (_, i) => (i % 2 ? service : replica).url);
    const answers = await Promise.all(urls.map((url) => deliver(url, event)));
    expect(answers).toEqual(urls.map(() => RECEIVED));
    expect(await effects(database)).toEqual(SUCCEEDED);
    expect(await inbox()).toHaveLength(1);
    expect(await outbox()).toHaveLength(1);
  });

  it('settles a charge once while its client retries and recovery runs, on two replicas', async () => {
    await loseReply('storm');
    const event = paymentEvent(await intent());
    const [replies, answers] = await Promise.all([
      Promise.all(Array.from({ length: 6 }, (_, i) => (i % 2 ? service : replica).charge('storm'))),
      Promise.all([service.url, replica.url, service.url].map((url) => deliver(url, event))),
      service.nest.get(Recovery).runOnce(),
      replica.nest.get(Recovery).runOnce(),
    ]);
    expect(new Set(replies.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers).toEqual([RECEIVED, RECEIVED, RECEIVED]);
    expect(await effects(database)).toEqual(SUCCEEDED);
    expect(stripe.capturesOf((await charge()).id)).toBe(1);
    expect(await outbox()).toHaveLength(1);
  });

  it('decides without a request to Stripe, so the charge is settled although Stripe cannot be reached', async () => {
    await loseReply('down');
    const asked = stripe.requests.length;
    expect(await deliver(service.url, paymentEvent(await intent()))).toEqual(RECEIVED);
    expect(stripe.requests).toHaveLength(asked);
  });

  it('declines a charge only after its intent is canceled, with the reason that the gateway finds', async () => {
    const body = { ...CHARGE, source: 'tok_insufficientFunds' };
    stripe.breakNext('cancel', { kind: 'loses the request' }, { kind: 'loses the request' });
    expect((await service.charge('declined', body)).status).toBe(503);
    expect((await intent()).status).toBe('requires_payment_method');
    expect(await deliver(service.url, paymentEvent(await intent()))).toEqual(RECEIVED);
    expect((await intent()).status).toBe('canceled');
    expect(await effects(database)).toEqual(FAILED);
    const reply = await service.charge('declined', body);
    expect([reply.status, (reply.body as { decline_code: string }).decline_code]).toEqual([402, 'insufficient_funds']);
  });

  it('is answered with 503 if it decides nothing and Stripe cannot be reached, so that Stripe sends it again', async () => {
    const body = { ...CHARGE, source: 'tok_chargeDeclined' };
    stripe.breakNext('cancel', { kind: 'loses the request' }, { kind: 'loses the request' });
    expect((await service.charge('unreachable', body)).status).toBe(503);
    const event = paymentEvent(await intent());
    stripe.breakNext('retrieve', { kind: 'loses the request' }, { kind: 'loses the request' });
    expect((await deliver(service.url, event)).status).toBe(503);
    expect([await effects(database), await inbox()]).toEqual([PENDING, []]);
    expect(await deliver(service.url, event)).toEqual(RECEIVED);
    expect(await effects(database)).toEqual(FAILED);
  });

  it('cannot decline a charge that has succeeded since, because an old event does not decide', async () => {
    stripe.breakNext('confirm', { kind: 'decides', card: { declines: 'generic_decline' } });
    stripe.breakNext('cancel', { kind: 'loses the request' }, { kind: 'loses the request' });
    expect((await service.charge('reordered')).status).toBe(503);
    const failed = paymentEvent(await intent());
    // An attempt that was on its way for a long time confirms the intent again.
    stripe.intents.confirm((await intent()).id, new Map());
    const succeeded = paymentEvent(await intent());
    expect(await deliver(service.url, failed)).toEqual(RECEIVED);
    expect(await effects(database)).toEqual(SUCCEEDED);
    expect(await deliver(service.url, succeeded)).toEqual(RECEIVED);
    expect(await outbox()).toHaveLength(1);
  });

  it.each([
    ['the success', 'the failure', true],
    ['the failure', 'the success', false],
  ])('leaves one charge that has succeeded if %s is delivered before %s', async (_first, _second, isSuccessFirst) => {
    await loseReply('order');
    const paid = await intent();
    const failure = paymentEvent({ ...paid, status: 'requires_payment_method' });
    const success = paymentEvent(paid);
    for (const event of isSuccessFirst ? [success, failure, success] : [failure, success, failure]) {
      expect(await deliver(service.url, event)).toEqual(RECEIVED);
    }
    expect(await effects(database)).toEqual(SUCCEEDED);
    expect([(await inbox()).length, (await outbox()).length]).toEqual([2, 1]);
  });

  it('finishes a charge whose holder is frozen, and the holder commits nothing when it wakes', async () => {
    const frozen = new Barrier();
    stripe.breakNext('confirm', { kind: 'delays the request', until: frozen.pass });
    const asleep = service.charge('frozen');
    await frozen.reached.given;
    // Another attempt has confirmed the same intent.
    stripe.intents.confirm((await intent()).id, new Map());
    expect(await deliver(replica.url, paymentEvent(await intent()))).toEqual(RECEIVED);
    const before = await charge();
    frozen.open();
    expect((await asleep).status).toBe(200);
    expect(await charge()).toEqual(before);
    expect(stripe.capturesOf(before.id)).toBe(1);
  });

  it('is accepted with all that a real event contains, and none of it is stored or logged', async () => {
    await loseReply('real');
    const details = {
      last4: '4242',
      fingerprint: '4242424242424242',
      cvc_check: 'pass',
      cvc: '123',
      receipt_url: `https://pay.example/${'r'.repeat(2_000)}`,
      charges: Array.from({ length: 600 }, (_, i) => ({ id: i, __proto__: null })),
    };
    const event = paymentEvent({ ...(await intent()), ...details });
    const lines = await errorsDuring(async () => expect(await deliver(service.url, event)).toEqual(RECEIVED));
    expect(lines).toEqual([]);
    expect(await effects(database)).toEqual(SUCCEEDED);
  });

  it('is acknowledged and ignored if it is of another type, or about a payment without our metadata', async () => {
    const events = [
      eventOf('customer.created', { id: 'cus_1' }),
      eventOf('payment_intent.succeeded', {
        id: 'pi_other',
        status: 'succeeded',
        amount: 1,
        currency: 'eur',
        metadata: {},
      }),
      eventOf('payment_intent.succeeded', {
        id: 'pi_other',
        metadata: { account_id: 'acct_demo', charge_id: 'ch_\0' },
      }),
    ];
    for (const event of events) expect(await deliver(service.url, event)).toEqual(RECEIVED);
    expect([await inbox(), await unmatched()]).toEqual([[], []]);
    // The page of metrics is up to one second old.
    await until(async () =>
      / 3$/m.test(
        (await (await fetch(`${service.url}/metrics`)).text()).match(
          /stripe_events_total\{outcome="ignored"\}.*/,
        )?.[0] ?? '',
      ),
    );
  });

  it('is answered with 500 if its form is not the expected one, and the log names the event and does not quote it', async () => {
    await loseReply('form');
    const event = paymentEvent({ ...(await intent()), amount: '4242424242424242' as never });
    const lines = await errorsDuring(async () => expect((await deliver(service.url, event)).status).toBe(500));
    expect(lines.join()).not.toContain('4242');
    expect(await effects(database)).toEqual(PENDING);
  });
});

describe('an event that does not fit the books', () => {
  it('does not settle a charge if its intent is another one, and an error in the log names both', async () => {
    await loseReply('foreign');
    const { id } = await charge();
    const foreign = { ...(await intent()), id: 'pi_foreign' };
    const lines = await errorsDuring(() => deliver(service.url, paymentEvent(foreign)));
    expect(lines.join()).toMatch(new RegExp(`contradicts ${id} of acct_demo: pi_foreign is not the PaymentIntent`));
    expect(await effects(database)).toEqual(PENDING);
    // A duplicate raises no second alarm.
    const again = paymentEvent(foreign);
    expect(await errorsDuring(() => deliver(service.url, again))).toHaveLength(1);
    expect(await errorsDuring(() => deliver(service.url, again))).toEqual([]);
  });

  it('does not settle a charge of another amount or currency', async () => {
    await loseReply('amount');
    for (const other of [{ amount: 1 }, { currency: 'usd' }]) {
      const lines = await errorsDuring(async () =>
        deliver(service.url, paymentEvent({ ...(await intent()), ...other })),
      );
      expect(lines).toHaveLength(1);
    }
    expect(await effects(database)).toEqual(PENDING);
  });

  it('raises an alarm if it reports money for a charge that is recorded as failed', async () => {
    await service.charge('contradicted', { ...CHARGE, source: 'tok_chargeDeclined' });
    const lines = await errorsDuring(async () =>
      deliver(service.url, paymentEvent({ ...(await intent()), status: 'succeeded' })),
    );
    expect(lines.join()).toContain('succeeded, but the charge is recorded as failed');
    expect(await effects(database)).toEqual(FAILED);
  });

  it('takes the intent for the one of the charge if a failover has lost its row and money was taken', async () => {
    await loseReply('lost');
    await database.sql('DELETE FROM stripe_payments');
    const taken = await intent();
    expect(await deliver(service.url, paymentEvent(taken))).toEqual(RECEIVED);
    expect(await database.sql('SELECT payment_intent FROM stripe_payments')).toEqual([{ payment_intent: taken.id }]);
    expect(await effects(database)).toEqual(SUCCEEDED);
  });

  it('does not pay a second charge with the intent of the first one, although its metadata name the second one, whose intent is lost', async () => {
    await service.charge('first');
    const paid = await intent();
    stripe.breakNext('confirm', ...LOSES_ANSWERS);
    expect((await service.charge('second')).status).toBe(503);
    const [second] = await database.sql<Charge>(`SELECT * FROM charges WHERE status = 'pending'`);
    await database.sql('DELETE FROM stripe_payments WHERE charge_id = $1', [second?.id]);
    const claimed = { ...paid, metadata: { ...paid.metadata, charge_id: second?.id ?? '' } };
    const lines = await errorsDuring(async () =>
      expect(await deliver(service.url, paymentEvent(claimed))).toEqual(RECEIVED),
    );
    expect(lines.join()).toContain(`contradicts ${second?.id} of acct_demo: ${paid.id} is not the PaymentIntent`);
    expect(await effects(database)).toEqual({ ...SUCCEEDED, ...PENDING, succeeded: 1, completed: 1 });
  });

  it('gives no intent to a charge that is settled', async () => {
    await service.charge('settled', { ...CHARGE, source: 'tok_chargeDeclined' });
    await database.sql('DELETE FROM stripe_payments');
    const paid = { ...(await intent()), status: 'succeeded' as const };
    expect(await errorsDuring(() => deliver(service.url, paymentEvent(paid)))).toHaveLength(1);
    expect(await database.sql('SELECT FROM stripe_payments')).toEqual([]);
  });

  it('is answered with 503 if it reports a refund of a payment that a failover has lost, until the payment is known again', async () => {
    await loseReply('refunded');
    await database.sql('DELETE FROM stripe_payments');
    const event = refundEvent(await intent(), 100);
    expect((await deliver(service.url, event)).status).toBe(503);
    expect([await database.sql('SELECT FROM stripe_payments'), await inbox()]).toEqual([[], []]);
    expect(await deliver(service.url, paymentEvent(await intent()))).toEqual(RECEIVED);
    expect(await errorsDuring(() => deliver(service.url, event))).toEqual([]);
    expect(await outbox()).toContain(`charge.refunded_elsewhere.${(await charge()).id}.100`);
  });

  it('subtracts nothing from the balance for a charge that is recorded as failed, and raises an alarm', async () => {
    await service.charge('failed', { ...CHARGE, source: 'tok_chargeDeclined' });
    const failed = await intent();
    const events = [
      refundEvent(failed, 100),
      disputeEvent('created', failed, { status: 'needs_response' }),
      disputeEvent('funds_withdrawn', failed, { status: 'needs_response' }),
    ];
    for (const event of events) {
      const lines = await errorsDuring(async () => expect(await deliver(service.url, event)).toEqual(RECEIVED));
      expect(lines.join()).toMatch(/contradicts .* but the charge is recorded as failed/);
    }
    expect(await database.sql('SELECT FROM reported_refunds UNION ALL SELECT FROM disputes')).toEqual([]);
    expect(await outbox()).toEqual([]);
    expect(await inbox()).toHaveLength(events.length);
  });

  it('raises its alarm before its row in the inbox is committed, so that a crash in between loses no alarm', async () => {
    await loseReply('alarm');
    const event = paymentEvent({ ...(await intent()), id: 'pi_foreign' });
    const counted: Outcome[] = [];
    const counting = service.nest.get(WebhookEvents, { strict: false }).subscribe((outcome) => counted.push(outcome));
    try {
      await withoutCommits('INSERT', 'processed_messages', async () => {
        const lines = await errorsDuring(async () => expect((await deliver(service.url, event)).status).toBe(503));
        expect(lines.join()).toContain('pi_foreign is not the PaymentIntent');
      });
      expect([await inbox(), counted]).toEqual([[], ['contradicted']]);
      expect(await errorsDuring(() => deliver(service.url, event))).toHaveLength(1);
      expect([(await inbox()).length, counted]).toEqual([1, ['contradicted', 'contradicted']]);
    } finally {
      counting.unsubscribe();
    }
  });
});

it('keeps one payment for a charge if many attempts and events keep the same PaymentIntent at the same moment', async () => {
  await loseReply('race');
  const payments = new StripePayments(service.nest.get(DataSource));
  // The two unique indexes meet only in some of the rounds.
  for (let round = 0; round < 400; round++) {
    const opened = { kind: 'intent' as const, id: `pi_${round}` };
    const raced = { ...(await charge()), id: `ch_${round}` };
    const kept = await Promise.all(Array.from({ length: 8 }, () => payments.keep(raced, opened)));
    expect(kept).toEqual(kept.map(() => opened));
  }
});

describe('an event for a charge that is not known', () => {
  const match = (of: TestService) => of.nest.get(UnmatchedEvents, { strict: false }).runOnce();

  /** Takes the rows of the only charge away, sends an event about it, and brings the rows back. */
  async function deliverWithoutRows(key: string) {
    await loseReply(key);
    const event = paymentEvent(await intent());
    await database.sql('CREATE TABLE taken AS SELECT * FROM charges');
    await database.sql('DELETE FROM charges');
    const answers = [await deliver(service.url, event), await deliver(replica.url, event)];
    const bringBack = async () => {
      await database.sql('INSERT INTO charges SELECT * FROM taken');
      await database.sql('DROP TABLE taken');
    };
    return { event, answers, bringBack };
  }

  it('is kept once, and settles the charge when the charge is known', async () => {
    const { event, answers, bringBack } = await deliverWithoutRows('kept');
    expect(answers).toEqual([RECEIVED, RECEIVED]);
    expect(await match(service)).toBe(0);
    expect(await unmatched()).toEqual([expect.objectContaining({ account_id: 'acct_demo', event_id: event.id })]);
    await bringBack();
    await Promise.all([match(service), match(replica)]);
    expect(await effects(database)).toEqual(SUCCEEDED);
    expect([await unmatched(), (await inbox()).length, (await outbox()).length]).toEqual([[], 1, 1]);
    expect(await deliver(service.url, event)).toEqual(RECEIVED);
    expect((await service.charge('kept')).status).toBe(200);
  });

  it('is stored without any details of the card', async () => {
    const { bringBack } = await deliverWithoutRows('narrow');
    const [row] = await database.sql<{ event: object }>('SELECT event FROM unmatched_events');
    expect(Object.keys((row?.event as { intent: object }).intent).sort()).toEqual([
      'amount',
      'currency',
      'id',
      'last_payment_error',
      'status',
    ]);
    await bringBack();
  });

  it('is deleted after MESSAGE_RETENTION_HOURS, and an error in the log names it', async () => {
    const { event, bringBack } = await deliverWithoutRows('swept');
    const { id } = await database.sql<Charge>('SELECT id FROM taken').then(([row]) => row as Charge);
    await database.sql(`UPDATE unmatched_events SET received_at = received_at - interval '169 hours'`);
    const lines = await errorsDuring(() => match(service));
    expect(lines.join()).toContain(`payment_intent.succeeded ${event.id} is deleted, because ${id}`);
    expect(await unmatched()).toEqual([]);
    await bringBack();
  });

  it('is named in the log before it is deleted, so that a crash in between loses no name', async () => {
    const { event, bringBack } = await deliverWithoutRows('named');
    await database.sql(`UPDATE unmatched_events SET received_at = received_at - interval '169 hours'`);
    await withoutCommits('DELETE', 'unmatched_events', async () => {
      const lines = await errorsDuring(() => match(service).catch(() => undefined));
      expect(lines.join()).toContain(`${event.id} is deleted`);
    });
    expect(await unmatched()).toHaveLength(1);
    expect((await errorsDuring(() => match(service))).join()).toContain(`${event.id} is deleted`);
    expect(await unmatched()).toEqual([]);
    await bringBack();
  });
});

describe('a crash', () => {
  it('between the inbox and the work leaves neither, so the event takes effect when Stripe sends it again', async () => {
    await loseReply('crash');
    const event = paymentEvent(await intent());
    // A lock on the charge stops the transaction behind its row in the inbox. The end of its connection is what a crash leaves.
    const holder = await connect(database.url);
    await holder.query('BEGIN; SELECT FROM charges FOR UPDATE');
    const delivery = deliver(service.url, event);
    await until(async () => (await blocked()).length > 0);
    await database.sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ANY ($1)', [
      await blocked(),
    ]);
    expect((await delivery).status).toBe(503);
    expect([await effects(database), await inbox()]).toEqual([PENDING, []]);
    await holder.query('ROLLBACK');
    await holder.end();
    expect(await deliver(replica.url, event)).toEqual(RECEIVED);
    expect(await effects(database)).toEqual(SUCCEEDED);
    expect([(await inbox()).length, (await outbox()).length]).toEqual([1, 1]);
  });

  it('of the database is answered with 503, so that Stripe sends the event again', async () => {
    await loseReply('database');
    const event = paymentEvent(await intent());
    const dataSource = service.nest.get(DataSource);
    const { query } = dataSource.manager;
    dataSource.manager.query = () => Promise.reject(Object.assign(new Error('gone'), { code: '57P01' }));
    try {
      expect((await deliver(service.url, event)).status).toBe(503);
    } finally {
      dataSource.manager.query = query;
    }
    expect(await deliver(service.url, event)).toEqual(RECEIVED);
  });

  const blocked = async () =>
    (
      await database.sql<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      )
    ).map(({ pid }) => pid);
});
