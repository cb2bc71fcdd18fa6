// Goal: prove that refunds that were made at Stripe, and disputes, change the charge and the balance once, in any order and with duplicates.
// Method: send signed events about a charge in random orders, between the steps of our own refunds, and compare the books with what happened.
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { DataSource } from 'typeorm';
import type { RefundDecision } from '../../src/charges/gateway/payment.gateway.js';
import { settlementOf } from '../../src/charges/refunds/refunds.phases.js';
import type { Refund } from '../../src/charges/refunds/refund.entity.js';
import { UnmatchedEvents } from '../../src/charges/webhooks/unmatched-events.js';
import { Relay } from '../../src/messaging/index.js';
import { inTransaction } from '../../src/postgres/transaction.js';
import {
  deliver,
  disputeEvent,
  type DisputeEventName,
  refundEvent,
  type StripeEventBody,
  WEBHOOK_SECRET,
} from '../stripe/events.js';
import type { PaymentIntent } from '../stripe/payment-intents.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';

const RECEIVED = { status: 200, body: { received: true } };
const AMOUNT = 1_000;

let database: TestDatabase;
let service: TestService;
let replica: TestService;
beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, { STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET });
  replica = await startService(database.url, { STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET });
});
afterEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await replica?.stop();
  await database?.drop();
});

/** Charges, and returns the intent that Stripe would have for the charge. */
async function charge(key: string): Promise<PaymentIntent> {
  const { id } = (await service.charge(key, { amount: AMOUNT, currency: 'eur' })).body as { id: string };
  const intent = {
    id: `pi_${id.slice(3, 20)}`,
    object: 'payment_intent' as const,
    amount: AMOUNT,
    amount_received: AMOUNT,
    currency: 'eur',
    created: 0,
    metadata: { account_id: 'acct_demo', charge_id: id },
    payment_method: 'pm_card_visa',
    status: 'succeeded' as const,
    last_payment_error: null,
  };
  await database.sql(`INSERT INTO stripe_payments VALUES ('acct_demo', $1, $2, NULL, now())`, [id, intent.id]);
  return intent;
}

const chargeIdOf = ({ metadata }: PaymentIntent) => metadata['charge_id'] ?? '';
const send = async (event: StripeEventBody) => expect(await deliver(service.url, event)).toEqual(RECEIVED);
const read = async (intent: PaymentIntent) => (await service.http.get(`/charges/${chargeIdOf(intent)}`)).body as object;

/** Publishes every message, and returns the balance. */
async function balance(): Promise<number> {
  await service.nest.get(Relay).runOnce();
  const { balances } = (await service.http.get('/balance')).body as { balances: { amount: number }[] };
  return balances[0]?.amount ?? 0;
}

/** The sum of the amounts in the outbox, of the messages of one type about one charge. */
async function told(type: string, intent: PaymentIntent): Promise<number> {
  const [row] = await database.sql<{ sum: number }>(
    `SELECT coalesce(sum((data->>'amount')::integer), 0)::integer AS sum FROM outbox WHERE type = $1 AND data->>'charge_id' = $2`,
    [type, chargeIdOf(intent)],
  );
  return row?.sum ?? 0;
}

describe('refunds that were made at Stripe', () => {
  it('change the charge and the balance once, although the event is sent five times at once to two replicas', async () => {
    const intent = await charge('once');
    const event = refundEvent(intent, 300);
    const urls = [service, replica, service, replica, service].map(({ url }) => url);
    expect(await Promise.all(urls.map((url) => deliver(url, event)))).toEqual(urls.map(() => RECEIVED));
    expect(await read(intent)).toMatchObject({ amount_refunded: 300, status: 'succeeded' });
    expect(await balance()).toBe(700);
  });

  it('leave the greatest sum if the events arrive in the wrong order', async () => {
    const intent = await charge('order');
    for (const sum of [500, 200, 500]) await send(refundEvent(intent, sum));
    expect(await read(intent)).toMatchObject({ amount_refunded: 500 });
    expect(await balance()).toBe(500);
  });

  it('are not counted again if they are our own, and reduce what is left to refund if they are not', async () => {
    const intent = await charge('both');
    const refund = (key: string, amount: number) =>
      service.http
        .post(`/charges/${chargeIdOf(intent)}/refunds`)
        .set('idempotency-key', key)
        .send({ amount });
    expect((await refund('own', 400)).status).toBe(200);
    await send(refundEvent(intent, 400));
    expect(await balance()).toBe(600);
    await send(refundEvent(intent, 900));
    expect(await balance()).toBe(100);
    expect((await refund('too-much', 200)).body).toMatchObject({ code: 'refund_exceeds_charge', refundable: 100 });
    expect((await refund('rest', 100)).status).toBe(200);
    expect(await read(intent)).toMatchObject({ amount_refunded: 1_000 });
    expect(await balance()).toBe(0);
  });

  it('of another payment are not counted, although its metadata name the charge', async () => {
    const intent = await charge('foreign');
    for (const foreign of [{ id: 'pi_foreign' }, { amount: 5_000 }]) {
      await send(refundEvent({ ...intent, ...foreign }, 300));
    }
    expect(await read(intent)).toMatchObject({ amount_refunded: 0 });
  });

  const PAID: RefundDecision = { status: 'succeeded' };
  const DECISIONS: Record<Made['by'], RefundDecision> = {
    us: PAID,
    others: PAID,
    'us, and Stripe refuses': { status: 'failed', failureCode: 'refused', isGivenUp: false },
    'us, made and failed later': { status: 'failed', failureCode: 'given_up', isGivenUp: true },
  };

  interface Made {
    amount: number;
    by: 'us' | 'others' | 'us, and Stripe refuses' | 'us, made and failed later';
  }
  type Step =
    | { kind: 'open'; refund: number }
    | { kind: 'settle'; refund: number }
    | { kind: 'event'; refund: number; copy: number };

  /** Refunds in the order in which Stripe makes them, and the steps of both sides in a random order. */
  const histories = fc
    .array(
      fc.record<Made>({
        amount: fc.integer({ min: 1, max: 200 }),
        by: fc.constantFrom('us', 'others', 'us, and Stripe refuses', 'us, made and failed later'),
      }),
      { minLength: 1, maxLength: 5 },
    )
    .chain((made) => {
      const steps = made.flatMap(({ by }, refund): Step[] => [
        ...(by === 'others' ? [] : [{ kind: 'open', refund } as const, { kind: 'settle', refund } as const]),
        ...(by === 'us, and Stripe refuses' ? [] : [0, 1].map((copy) => ({ kind: 'event', refund, copy }) as const)),
      ]);
      return fc.record({
        made: fc.constant(made),
        /** Whether the sum of later reports still contains a refund that Stripe made and gave up. */
        isGivenUpReported: fc.boolean(),
        steps: fc.shuffledSubarray(steps, { minLength: steps.length, maxLength: steps.length }),
      });
    });

  it('are counted exactly, in any order of events and duplicates between the steps of our own refunds, and never too much', async () => {
    let runs = 0;
    await fc.assert(
      fc.asyncProperty(histories, async ({ made, isGivenUpReported, steps }) => {
        const intent = await charge(`history-${++runs}`);
        const opened = new Set<number>();
        const refundOf = (refund: number) => `re_${runs}_${refund}`;
        const sum = (...by: Made['by'][]) =>
          made.reduce((total, { amount, by: who }) => total + (by.includes(who) ? amount : 0), 0);
        const isReported = ({ by }: Made, isLast: boolean) =>
          by === 'us, made and failed later' ? isLast || isGivenUpReported : by !== 'us, and Stripe refuses';
        const events = made.map((_, last) => {
          const reported = made.slice(0, last + 1).filter((refund, index) => isReported(refund, index === last));
          return refundEvent(
            intent,
            reported.reduce((total, { amount }) => total + amount, 0),
          );
        });
        // A refund of ours is stored before Stripe is asked for it, so also before every event that contains it.
        const open = async (refund: number) => {
          const { by, amount } = made[refund] as Made;
          if (by === 'others' || opened.has(refund)) return;
          opened.add(refund);
          await database.sql(
            `INSERT INTO refunds (account_id, id, charge_id, amount, currency, status, created_at)
             VALUES ('acct_demo', $1, $2, $3, 'eur', 'pending', now())`,
            [refundOf(refund), chargeIdOf(intent), amount],
          );
        };
        for (const step of steps) {
          if (step.kind === 'event') {
            for (let own = 0; own <= step.refund; own++) await open(own);
            await send(events[step.refund] as StripeEventBody);
          } else {
            await open(step.refund);
            if (step.kind === 'settle') await settle(refundOf(step.refund), DECISIONS[(made[step.refund] as Made).by]);
          }
          expect(await told('charge.refunded_elsewhere', intent)).toBeLessThanOrEqual(sum('others'));
        }
        expect(await told('refund.succeeded', intent)).toBe(sum('us'));
        // The amount of a refund that a report contained and later ones lack hides refunds that were made elsewhere.
        if (!isGivenUpReported && sum('us, made and failed later') > 0) return;
        expect(await told('charge.refunded_elsewhere', intent)).toBe(sum('others'));
        expect(await read(intent)).toMatchObject({ amount_refunded: sum('us', 'others') });
      }),
      { numRuns: 40 },
    );
  });

  /** Stores Stripe's decision about a refund of ours, as the service does. */
  async function settle(id: string, decision: RefundDecision): Promise<void> {
    const [refund] = await database.sql<Refund>('SELECT * FROM refunds WHERE id = $1', [id]);
    const input = { refund: refund as Refund, decision };
    const items = [{ accountId: 'acct_demo', requestId: '', isRecorded: true, input }];
    const phase = settlementOf(decision);
    await inTransaction(service.nest.get(DataSource), async ({ manager }) => {
      if (typeof phase === 'function') await phase(manager, items);
      else await manager.query(phase.text, phase.parameters(items));
    });
  }
});

describe('a dispute', () => {
  it('changes the charge and the balance once when the money is withdrawn, and once when it is reinstated', async () => {
    const intent = await charge('won');
    await send(disputeEvent('created', intent, { status: 'needs_response' }));
    expect(await read(intent)).toMatchObject({ dispute: 'open' });
    const withdrawn = disputeEvent('funds_withdrawn', intent, { status: 'needs_response', amount: 600 });
    await send(withdrawn);
    await send(withdrawn);
    expect(await balance()).toBe(400);
    const closed = { status: 'won', after: 10, amount: 600 };
    await send(disputeEvent('funds_reinstated', intent, closed));
    await send(disputeEvent('closed', intent, closed));
    expect(await read(intent)).toMatchObject({ dispute: 'won' });
    expect(await balance()).toBe(1_000);
  });

  it('of a payment that this service does not know is kept, and counted when the payment is known', async () => {
    const intent = await charge('late');
    await database.sql('DELETE FROM stripe_payments');
    await send(disputeEvent('funds_withdrawn', intent, { status: 'needs_response' }));
    expect(await balance()).toBe(1_000);
    await database.sql(`INSERT INTO stripe_payments VALUES ('acct_demo', $1, $2, NULL, now())`, [
      chargeIdOf(intent),
      intent.id,
    ]);
    expect(await service.nest.get(UnmatchedEvents, { strict: false }).runOnce()).toBe(1);
    expect(await balance()).toBe(0);
    expect(await read(intent)).toMatchObject({ dispute: 'open' });
  });

  it('of a payment whose charge is not known is kept until the charge is known, and not forgotten', async () => {
    const match = () => service.nest.get(UnmatchedEvents, { strict: false }).runOnce();
    const intent = await charge('missing');
    await database.sql('CREATE TABLE taken AS SELECT * FROM charges');
    await database.sql('DELETE FROM charges');
    await send(disputeEvent('funds_withdrawn', intent, { status: 'needs_response' }));
    expect(await match()).toBe(0);
    expect(await database.sql('SELECT FROM unmatched_events')).toHaveLength(1);
    await database.sql('INSERT INTO charges SELECT * FROM taken');
    await database.sql('DROP TABLE taken');
    expect(await match()).toBe(1);
    expect(await database.sql('SELECT FROM unmatched_events')).toEqual([]);
    expect(await balance()).toBe(0);
  });

  it('ends in the same state in any order of its events, with duplicates under the same and other ids', async () => {
    let runs = 0;
    const order = fc.shuffledSubarray(
      [0, 1, 2, 3, 4, 0, 1, 2, 3, 4].map((event, copy) => ({ event, copy })),
      {
        minLength: 10,
        maxLength: 10,
      },
    );
    await fc.assert(
      fc.asyncProperty(order, fc.constantFrom('won', 'lost', 'warning_closed'), async (steps, end) => {
        const intent = await charge(`dispute-${++runs}`);
        const id = `du_${runs}`;
        const kinds: [DisputeEventName, string, number][] = [
          ['created', 'needs_response', 0],
          ['funds_withdrawn', 'needs_response', 1],
          ['updated', 'under_review', 20],
          ['funds_reinstated', end, 10],
          ['closed', end, 10],
        ];
        for (const { event } of steps) {
          const [name, status, after] = kinds[event] as (typeof kinds)[number];
          await send(disputeEvent(name, intent, { id, status, after }));
        }
        expect(await read(intent)).toMatchObject({ dispute: end === 'warning_closed' ? 'closed' : end });
        expect(await told('dispute.funds_withdrawn', intent)).toBe(AMOUNT);
        expect(await told('dispute.funds_reinstated', intent)).toBe(AMOUNT);
      }),
      { numRuns: 15 },
    );
  });
});
