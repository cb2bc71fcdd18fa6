import type { ChargeRow, DatabaseState, Evidence, JournalEntry, MessageRow, Snapshot } from '../chaos/evidence.js';
import { check } from '../chaos/checker/checker.js';
import type { HistoryEvent, Operation, Outcome, Reply } from '../chaos/history.js';

export const uuid = (n: number) => `019ab9f2-c0de-7a3c-8f21-${String(n).padStart(12, '0')}`;
export const chargeId = (n: number) => `ch_${uuid(n).replaceAll('-', '')}`;
export const refundId = (n: number) => `re_${uuid(n).replaceAll('-', '')}`;

export const charge: Operation = {
  id: 'acct_a:k-1',
  account: 'acct_a',
  key: 'k-1',
  path: '/charges',
  body: { amount: 600, currency: 'eur', description: 'acct_a:k-1', order_id: 'o-1' },
};
export const order: Operation = {
  id: 'acct_a:o-1',
  account: 'acct_a',
  key: 'o-1',
  path: '/orders',
  body: { order_id: 'o-1', customer_id: 'acct_a:o-1', items: [{ item_id: 'item_1', quantity: 2, unit_amount: 300 }] },
};
/** An order without a key. */
export const natural: Operation = {
  id: 'acct_a:o-2',
  account: 'acct_a',
  path: '/orders',
  body: { order_id: 'o-2', customer_id: 'acct_a:o-2', items: [] },
};
/** A charge of another account with the same key. Every attempt fails until it is sent again at the end. */
export const failed: Operation = {
  id: 'acct_b:k-1',
  account: 'acct_b',
  key: 'k-1',
  path: '/charges',
  body: { amount: 1, description: 'acct_b:k-1', source: 'tok_chargeDeclined' },
};

/** A refund of a part of `charge`. */
export const refund: Operation = {
  id: 'acct_a:r-1',
  account: 'acct_a',
  key: 'r-1',
  path: `/charges/${chargeId(1)}/refunds`,
  body: { amount: 100, reason: 'acct_a:r-1' },
};
/** A refund of more than `charge` has left, which is refused. */
export const excess: Operation = {
  ...refund,
  id: 'acct_a:r-2',
  key: 'r-2',
  body: { amount: 501, reason: 'acct_a:r-2' },
};

/** A first reply. */
export const replyOf = (status: number, content: object): Reply => ({
  status,
  contentType: status === 200 ? 'application/json' : 'application/problem+json',
  body: JSON.stringify(content),
  replayed: false,
});
/** The reply of `charge` (n = 1), or of a later charge for the same key. */
export const chargedAs = (n: number) => replyOf(200, { id: chargeId(n), description: charge.id, amount: 600 });
export const CHARGED = chargedAs(1);
export const ORDERED = replyOf(200, { ...order.body, amount: 600 });
export const REFUNDED = replyOf(200, { id: refundId(5), amount: 100, reason: refund.id });
export const EXCEEDED = replyOf(409, { code: 'refund_exceeds_charge', refundable: 500 });
const DECLINED = replyOf(402, { charge_id: chargeId(4) });
const recordOf = ({ status, contentType, body }: Reply) => ({
  response_status: status,
  content_type: contentType,
  response_body: body,
  completed: true,
});
export const replay = (reply: Reply): Reply => ({ ...reply, replayed: true });
export const ok = (reply: Reply): Outcome => ({ type: 'ok', reply });
/** The answer to the order without a key, which shows the order's present state. */
export const asItIs = (values: object = {}): Outcome => {
  const content = { ...natural.body, amount: 0, status: 'placed', paid_at: null, ...values };
  return ok(replyOf(200, content));
};
export const LOST: Outcome = { type: 'info', reason: 'socket hang up' };
export const PAID = asItIs({ status: 'paid', paid_at: 'today' });
export const REFUSED: Outcome = { type: 'fail', reason: '503 database_unavailable' };

/** The charge of `failed`, which is declined when it is sent again at the end. */
const CHARGE: ChargeRow = {
  account_id: 'acct_b',
  id: chargeId(4),
  amount: 1,
  currency: 'eur',
  description: failed.id,
  order_id: null,
  status: 'failed',
  decline_code: 'generic_decline',
  created_at: 9_015,
};

const OPERATIONS = [order, charge, natural, failed, refund, excess];

/** A valid run. Each test of the checker changes it in one place. */
export class Run {
  readonly events: HistoryEvent[] = [];
  faults = ['kill'];
  hasBroker = false;
  crashed: number[] = [];
  database: DatabaseState = {
    charges: [
      {
        account_id: 'acct_a',
        id: chargeId(1),
        amount: 600,
        currency: 'eur',
        description: charge.id,
        order_id: 'o-1',
        status: 'succeeded',
        decline_code: null,
        created_at: 5,
      },
    ],
    requests: [
      {
        account_id: 'acct_a',
        idempotency_key: 'k-1',
        request_id: uuid(1),
        operation: 'POST /charges',
        ...recordOf(CHARGED),
      },
      {
        account_id: 'acct_a',
        idempotency_key: 'o-1',
        request_id: uuid(2),
        operation: 'POST /orders',
        ...recordOf(ORDERED),
      },
      ...[REFUNDED, EXCEEDED].map((reply, i) => ({
        account_id: 'acct_a',
        idempotency_key: `r-${i + 1}`,
        request_id: uuid(5 + i),
        operation: 'POST /charges/:id/refunds',
        ...recordOf(reply),
      })),
    ],
    refunds: [
      {
        account_id: 'acct_a',
        id: refundId(5),
        charge_id: chargeId(1),
        amount: 100,
        currency: 'eur',
        reason: refund.id,
        status: 'succeeded',
      },
    ],
    orders: [
      {
        account_id: 'acct_a',
        order_id: 'o-1',
        status: 'paid',
        amount: 600,
        customer_id: order.id,
        items: [{ item_id: 'item_1', quantity: 2, unit_amount: 300 }],
      },
      { account_id: 'acct_a', order_id: 'o-2', status: 'paid', amount: 0, customer_id: natural.id, items: [] },
    ],
    stock: [{ account_id: 'acct_a', item_id: 'item_1', stock: 98 }],
    messages: [
      { account_id: 'acct_a', id: `charge.succeeded.${chargeId(1)}`, published: true },
      { account_id: 'acct_a', id: `refund.succeeded.${refundId(5)}`, published: true },
    ],
    taken: [],
    processed: [
      { account_id: 'acct_a', consumer: 'balance', message_id: `refund.succeeded.${refundId(5)}` },
      ...['balance', 'orders', 'notifications'].map((consumer) => ({
        account_id: 'acct_a',
        consumer,
        message_id: `charge.succeeded.${chargeId(1)}`,
      })),
    ],
    events: [{ account_id: 'acct_a', consumer: 'stripe', message_id: `evt_${chargeId(1).slice(3)}_6` }],
    deadLetters: [],
    balances: [{ account_id: 'acct_a', of: 'eur', amount: 500 }],
    payments: [{ account_id: 'acct_a', of: 'o-1', amount: 600 }],
    changes: [],
  };
  journal: JournalEntry[] = [
    {
      at: 6,
      account: 'acct_a',
      key: chargeId(1),
      charge: chargeId(1),
      amount: 600,
      currency: 'eur',
      decision: 'captured',
    },
    {
      at: 7,
      account: 'acct_a',
      key: refundId(5),
      charge: chargeId(1),
      refund: refundId(5),
      amount: 100,
      currency: 'eur',
      decision: 'refunded',
    },
  ];
  /** Answers to the operations when all of them are sent again at the end. */
  resent: Record<string, Outcome> = {
    [order.id]: ok(replay(ORDERED)),
    [charge.id]: ok(replay(CHARGED)),
    [natural.id]: PAID,
    [failed.id]: ok(DECLINED),
    [refund.id]: ok(replay(REFUNDED)),
    [excess.id]: ok(replay(EXCEEDED)),
  };
  /** Changes to the charge that is declined at the end. */
  declined: Partial<ChargeRow> = {};
  /** Whether the bank's journal has the decline of that charge. */
  isDecided = true;
  private now = 0;
  private attempts = 0;

  constructor() {
    for (const operation of OPERATIONS) this.events.push({ at: 0, type: 'operation', operation });
    this.attempt(order, LOST).attempt(order, ok(ORDERED)).attempt(charge, ok(CHARGED));
    this.attempt(charge, ok(replay(CHARGED))).attempt(failed, REFUSED);
    this.attempt(natural, asItIs()).attempt(natural, PAID);
    this.attempt(refund, ok(REFUNDED)).attempt(excess, ok(EXCEEDED));
    this.events.push({ at: 50, type: 'fault', kind: 'kill', state: 'landed', about: '' });
  }

  attempt({ id }: Operation, outcome: Outcome): this {
    const attempt = this.attempts++;
    this.events.push({ at: (this.now += 10), type: 'invoke', attempt, operation: id, replica: 1 });
    this.events.push({ at: (this.now += 10), attempt, ...outcome });
    return this;
  }

  /** Lets time pass, in milliseconds. */
  pass(ms: number): this {
    this.now += ms;
    return this;
  }

  /** Replaces the outcome of every successful attempt of an operation. */
  instead({ id }: Operation, outcome: Outcome): this {
    const attempts = new Set<number>();
    this.events.forEach((event, i) => {
      if (event.type === 'invoke' && event.operation === id) attempts.add(event.attempt);
      if (event.type === 'ok' && attempts.has(event.attempt))
        this.events[i] = { at: event.at, attempt: event.attempt, ...outcome };
    });
    return this;
  }

  /** Adds two attempts that overlap. */
  twice({ id: operation }: Operation, outcome: Outcome): this {
    const attempts = [this.attempts++, this.attempts++];
    this.now += 10;
    for (const attempt of attempts) this.events.push({ at: this.now, type: 'invoke', attempt, operation, replica: 1 });
    this.now += 10;
    for (const attempt of attempts) this.events.push({ at: this.now, attempt, ...outcome });
    return this;
  }

  /** Makes the reply of `charge` a reply recorded a day ago that expires `later` milliseconds from now. */
  expires(later = 5): this {
    const expiresAt = this.now + later;
    const event = { at: 0, type: 'recorded', operation: charge.id, reply: CHARGED, expiresAt } as const;
    this.events.splice(4, 0, event);
    // The reply was recorded before this run, so every attempt of this run that received it got a replay.
    this.events.forEach((seen, i) => {
      if (seen.type === 'ok' && seen.reply === CHARGED) this.events[i] = { ...seen, reply: replay(CHARGED) };
    });
    return this;
  }

  /** Adds a second charge for the key at this time, with its record, message, balance, payment and capture. */
  chargeAgain(created_at: number): this {
    const { database, journal } = this;
    const [first] = database.charges;
    if (first) database.charges.push({ ...first, id: chargeId(3), created_at });
    Object.assign(database.requests[0] ?? {}, { request_id: uuid(3) });
    const message = { account_id: 'acct_a', id: `charge.succeeded.${chargeId(3)}`, published: true };
    database.messages.push(message);
    for (const consumer of ['balance', 'orders', 'notifications'])
      database.processed.push({ account_id: 'acct_a', consumer, message_id: message.id });
    Object.assign(database.balances[0] ?? {}, { amount: 1100 });
    Object.assign(database.payments[0] ?? {}, { amount: 1200 });
    database.events.push({ account_id: 'acct_a', consumer: 'stripe', message_id: `evt_${chargeId(3).slice(3)}_6` });
    journal.push(...journal.slice(0, 1).map((entry) => ({ ...entry, key: chargeId(3), charge: chargeId(3) })));
    return this;
  }

  /** Makes a relay take a message while it is fresh, instead of releasing it. */
  takeFresh(message: MessageRow): this {
    const { database } = this;
    const { account_id, id } = message;
    database.messages = database.messages.filter((row) => row !== message);
    database.processed = database.processed.filter(({ message_id }) => message_id !== id);
    database.taken.push({ account_id, id, was_fresh: true });
    return this;
  }

  get evidence(): Evidence {
    const { database, journal, faults, hasBroker } = this;
    const healed = { database, journal };
    const events: HistoryEvent[] = [
      ...this.events,
      { at: 9_000, type: 'phase', name: 'resend' },
      ...OPERATIONS.flatMap(({ id: operation }, i): HistoryEvent[] => [
        { at: 9_010, type: 'invoke', attempt: 900 + i, operation, replica: 1 },
        { at: 9_020, attempt: 900 + i, ...(this.resent[operation] as Outcome) },
      ]),
      { at: 10_000, type: 'phase', name: 'end' },
    ];
    return {
      history: events,
      healed,
      end: this.end,
      crashed: this.crashed,
      faults,
      initialStock: 100,
      hasBroker,
      isReported: true,
    };
  }

  /** The state at the end, including the declined charge of `failed`. */
  private get end(): Snapshot {
    const { charges, requests } = this.database;
    const declined = { ...CHARGE, ...this.declined };
    const { account_id, id, amount, currency } = declined;
    const record = { account_id, idempotency_key: 'k-1', request_id: uuid(4), operation: 'POST /charges' };
    const entry = {
      at: 9_015,
      account: account_id,
      key: id,
      charge: id,
      amount,
      currency,
      decision: 'declined',
    } as const;
    return {
      database: {
        ...this.database,
        charges: [...charges, declined],
        requests: [...requests, { ...record, ...recordOf(DECLINED) }],
      },
      journal: [...this.journal, ...(this.isDecided ? [entry] : [])],
    };
  }

  get verdict() {
    return check(this.evidence);
  }
}
