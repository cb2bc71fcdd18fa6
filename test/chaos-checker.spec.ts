import { describe, expect, it } from '@jest/globals';
import { check } from './chaos/checker/checker.js';
import { type Invariant, INVARIANTS } from './chaos/checker/verdict.js';
import type { DatabaseState, Evidence, JournalEntry } from './chaos/evidence.js';
import type { HistoryEvent, Operation, Outcome, Reply } from './chaos/history.js';
import { LEASE_MS } from './chaos/timing.js';

const uuid = (n: number) => `019ab9f2-c0de-7a3c-8f21-${String(n).padStart(12, '0')}`;
const chargeId = (n: number) => `ch_${uuid(n).replaceAll('-', '')}`;

const charge: Operation = {
  id: 'acct_a:k-1',
  account: 'acct_a',
  key: 'k-1',
  path: '/charges',
  body: { amount: 600, currency: 'eur', description: 'acct_a:k-1', order_id: 'o-1' },
};
const order: Operation = {
  id: 'acct_a:o-1',
  account: 'acct_a',
  key: 'o-1',
  path: '/orders',
  body: { order_id: 'o-1', customer_id: 'acct_a:o-1', items: [{ item_id: 'item_1', quantity: 2, unit_amount: 300 }] },
};
/** Of another account, with the same key: every attempt has failed. */
const failed: Operation = {
  id: 'acct_b:k-1',
  account: 'acct_b',
  key: 'k-1',
  path: '/charges',
  body: { amount: 1, description: 'acct_b:k-1' },
};

const CHARGED: Reply = {
  status: 200,
  body: JSON.stringify({ id: chargeId(1), description: charge.id }),
  replayed: false,
};
const ORDERED: Reply = {
  status: 200,
  body: JSON.stringify({ order_id: 'o-1', customer_id: order.id }),
  replayed: false,
};
const replay = (reply: Reply): Reply => ({ ...reply, replayed: true });
const ok = (reply: Reply): Outcome => ({ type: 'ok', reply });
const LOST: Outcome = { type: 'info', reason: 'socket hang up' };
const REFUSED: Outcome = { type: 'fail', reason: '503 database_unavailable' };

/** A run in which everything went as it should, to be changed in one place. */
class Run {
  readonly events: HistoryEvent[] = [];
  faults = ['kill'];
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
        created_at: 5,
      },
    ],
    requests: [
      {
        account_id: 'acct_a',
        idempotency_key: 'k-1',
        request_id: uuid(1),
        operation: 'POST /charges',
        response_status: 200,
        response_body: CHARGED.body,
        completed: true,
      },
      {
        account_id: 'acct_a',
        idempotency_key: 'o-1',
        request_id: uuid(2),
        operation: 'POST /orders',
        response_status: 200,
        response_body: ORDERED.body,
        completed: true,
      },
    ],
    orders: [
      {
        account_id: 'acct_a',
        order_id: 'o-1',
        status: 'paid',
        amount: 600,
        customer_id: order.id,
        items: [{ item_id: 'item_1', quantity: 2 }],
      },
    ],
    stock: [{ account_id: 'acct_a', item_id: 'item_1', stock: 98 }],
    messages: [{ account_id: 'acct_a', id: `charge.succeeded.${chargeId(1)}`, published: true }],
    processed: ['balance', 'orders'].map((consumer) => ({
      account_id: 'acct_a',
      consumer,
      message_id: `charge.succeeded.${chargeId(1)}`,
    })),
    deadLetters: [],
    balances: [{ account_id: 'acct_a', of: 'eur', amount: 600 }],
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
  ];
  private now = 0;
  private attempts = 0;

  constructor() {
    for (const operation of [order, charge, failed]) this.events.push({ at: 0, type: 'operation', operation });
    this.attempt(order, LOST).attempt(order, ok(ORDERED)).attempt(charge, ok(CHARGED));
    this.attempt(charge, ok(replay(CHARGED))).attempt(failed, REFUSED);
    this.events.push({ at: 50, type: 'fault', kind: 'kill', state: 'landed', about: '' });
  }

  attempt({ id }: Operation, outcome: Outcome): this {
    const attempt = this.attempts++;
    this.events.push({ at: (this.now += 10), type: 'invoke', attempt, operation: id, replica: 1 });
    this.events.push({ at: (this.now += 10), attempt, ...outcome });
    return this;
  }

  /** Makes the charge's reply one that was recorded a day ago, and expires now. */
  expires(): this {
    const expiresAt = this.now + 5;
    const event = { at: 0, type: 'recorded', operation: charge.id, reply: CHARGED, expiresAt } as const;
    this.events.splice(3, 0, event);
    return this;
  }

  /** Lets time go by, in milliseconds. */
  pass(ms: number): this {
    this.now += ms;
    return this;
  }

  /** A second charge for the key, made at a time, and everything that belongs to it. */
  chargeAgain(created_at: number): this {
    const { database, journal } = this;
    const [first] = database.charges;
    if (first) database.charges.push({ ...first, id: chargeId(3), created_at });
    Object.assign(database.requests[0] ?? {}, { request_id: uuid(3) });
    const message = { account_id: 'acct_a', id: `charge.succeeded.${chargeId(3)}`, published: true };
    database.messages.push(message);
    for (const consumer of ['balance', 'orders'])
      database.processed.push({ account_id: 'acct_a', consumer, message_id: message.id });
    Object.assign(database.balances[0] ?? {}, { amount: 1200 });
    Object.assign(database.payments[0] ?? {}, { amount: 1200 });
    journal.push(...journal.map((entry) => ({ ...entry, key: chargeId(3), charge: chargeId(3) })));
    return this;
  }

  get evidence(): Evidence {
    const snapshot = { database: this.database, journal: this.journal };
    const end = { at: 10_000, type: 'phase', name: 'end' } as const;
    const { faults } = this;
    return { history: [...this.events, end], healed: snapshot, end: snapshot, faults, initialStock: 100 };
  }

  get verdict() {
    return check(this.evidence);
  }
}

type Row<Table extends keyof DatabaseState> = DatabaseState[Table][number];
const change = <Table extends keyof DatabaseState>(run: Run, table: Table, values: Partial<Row<Table>>, row = 0) =>
  Object.assign(run.database[table][row] ?? {}, values);

const BODY_OF_ANOTHER = JSON.stringify({ id: chargeId(1), description: failed.id });

/** What breaks each invariant. */
const BROKEN: [Invariant, string, (run: Run) => unknown][] = [
  ['one effect', 'a key that was charged twice', (run) => run.chargeAgain(7)],
  ['one effect', 'a key with two records', (run) => run.database.requests.push({ ...run.database.requests[0]! })],
  ['one effect', 'stock that was taken twice', (run) => change(run, 'stock', { stock: 96 })],
  ['one effect', 'a charge made again before its reply had expired', (run) => run.expires().chargeAgain(7)],
  ['nothing lost', 'a charge that was acknowledged and is not there', (run) => (run.database.charges = [])],
  ['nothing lost', 'an order that was acknowledged and is not there', (run) => (run.database.orders = [])],
  [
    'nothing lost',
    'an order of other pieces',
    (run) => change(run, 'orders', { items: [{ item_id: 'item_1', quantity: 1 }] }),
  ],
  ['nothing lost', 'a charge of another amount', (run) => change(run, 'charges', { amount: 599 })],
  ['nothing lost', 'a reply that is no longer on record', (run) => run.database.requests.shift()],
  [
    'one gateway key',
    'a bank that was asked with two keys',
    (run) => run.journal.push({ ...run.journal[0]!, key: 'another' }),
  ],
  ['same reply', 'two replies', (run) => run.attempt(charge, ok({ ...replay(CHARGED), body: `${CHARGED.body} ` }))],
  ['same reply', 'a record of another reply', (run) => change(run, 'requests', { response_body: '{}' })],
  [
    'same reply',
    'another reply before it expires',
    (run) => run.attempt(charge, ok({ ...replay(CHARGED), body: `${CHARGED.body} ` })).expires(),
  ],
  [
    'final is final',
    'a record that was changed',
    (run) => run.database.changes.push({ account_id: 'acct_a', idempotency_key: 'k-1', change: 'update' }),
  ],
  ['final is final', 'a retry that was answered anew', (run) => run.attempt(charge, ok(CHARGED))],
  [
    'a failure has no effect',
    'a charge of somebody who was told that there is none',
    (run) => run.database.charges.push({ ...run.database.charges[0]!, account_id: 'acct_b', description: failed.id }),
  ],
  ['record and effect agree', 'a record without its charge', (run) => change(run, 'requests', { request_id: uuid(9) })],
  ['record and effect agree', 'a record without its order', (run) => (run.database.orders = [])],
  [
    'record and effect agree',
    'an order on a record that is not completed',
    (run) => change(run, 'requests', { completed: false }, 1),
  ],
  ['record and effect agree', 'a charge that was never captured', (run) => (run.journal = [])],
  [
    'record and effect agree',
    'a capture of a charge that failed',
    (run) => change(run, 'charges', { status: 'failed' }),
  ],
  [
    'record and effect agree',
    'a pending charge that nobody will finish',
    (run) =>
      run.database.charges.push({ ...run.database.charges[0]!, id: chargeId(8), description: null, status: 'pending' }),
  ],
  ['the books agree', 'a balance that counts twice', (run) => change(run, 'balances', { amount: 1200 })],
  [
    'the books agree',
    'a bank that took more',
    (run) => run.journal.push({ ...run.journal[0]!, charge: 'ch_9', key: 'ch_9' }),
  ],
  ['nothing unfinished', 'a key in progress', (run) => change(run, 'requests', { completed: false })],
  ['nothing unfinished', 'a pending charge', (run) => change(run, 'charges', { status: 'pending' })],
  ['nothing unfinished', 'an unpublished message', (run) => change(run, 'messages', { published: false })],
  ['nothing unfinished', 'a dead letter', (run) => run.database.deadLetters.push(run.database.processed[0]!)],
  ['messages once', 'a charge of which nobody was told', (run) => (run.database.messages = [])],
  ['messages once', 'a consumer that has not heard', (run) => run.database.processed.pop()],
  ['messages once', 'an order that was paid twice by one charge', (run) => change(run, 'payments', { amount: 1200 })],
  ['messages once', 'an order that is not marked paid', (run) => change(run, 'orders', { status: 'placed' })],
  [
    'accounts do not cross',
    'the reply of another account',
    (run) => run.attempt(charge, ok({ ...CHARGED, body: BODY_OF_ANOTHER })),
  ],
  [
    'accounts do not cross',
    'a key that another account blocks',
    (run) => run.attempt(failed, ok({ status: 422, body: '{"code": "idempotency_key_reused"}', replayed: false })),
  ],
  ['accounts do not cross', 'a charge to another account', (run) => change(run, 'charges', { account_id: 'acct_b' })],
  ['accounts do not cross', 'an order of somebody else', (run) => change(run, 'orders', { customer_id: 'acct_b:o-1' })],
  [
    'accounts do not cross',
    'a bank that charged somebody else',
    (run) => Object.assign(run.journal[0] ?? {}, { account: 'acct_b' }),
  ],
  ['as documented', 'an internal error', (run) => run.attempt(failed, { type: 'info', reason: '500 internal_error' })],
  [
    'as documented',
    'a correct retry that is refused',
    (run) => run.attempt(order, ok({ status: 422, body: '{"code": "idempotency_key_reused"}', replayed: false })),
  ],
  [
    'as documented',
    'a reply that is replayed long after it has expired',
    (run) =>
      run
        .expires()
        .pass(LEASE_MS)
        .attempt(charge, ok(replay(CHARGED))),
  ],
];

describe('the checker of the chaos run', () => {
  it('finds nothing in a run in which everything went as it should', () => {
    expect(new Run().verdict).toEqual({
      verdict: 'valid',
      violations: [],
      doubts: [],
      counts: { keys: 3, attempts: 5, ok: 3, fail: 1, info: 1 },
    });
  });

  it.each(BROKEN)('finds that %s does not hold: %s', (invariant, _, break_) => {
    const run = new Run();
    break_(run);
    const { verdict, violations } = run.verdict;
    expect(violations.map((violation) => violation.invariant)).toContain(invariant);
    expect(verdict).toBe('invalid');
  });

  it('is tried on every invariant', () => {
    expect(new Set(BROKEN.map(([invariant]) => invariant))).toEqual(new Set(Object.keys(INVARIANTS)));
  });

  it('takes a charge for a second one only when the reply of the first has not expired', () => {
    const run = new Run().expires().chargeAgain(500);
    const reply = { status: 200, body: JSON.stringify({ id: chargeId(3), description: charge.id }), replayed: false };
    run.attempt(charge, ok(reply)).attempt(charge, ok(replay(reply)));
    change(run, 'requests', { response_body: reply.body });
    expect(run.verdict.violations).toEqual([]);
  });

  it('lets a reply that has just expired be given to those that waited for a request under way', () => {
    const run = new Run()
      .expires()
      .attempt(charge, ok(replay(CHARGED)))
      .chargeAgain(500)
      .pass(LEASE_MS);
    const reply = { status: 200, body: JSON.stringify({ id: chargeId(3), description: charge.id }), replayed: false };
    run.attempt(charge, ok(reply)).attempt(charge, ok(replay(reply)));
    change(run, 'requests', { response_body: reply.body });
    expect(run.verdict.violations).toEqual([]);
  });

  it('never takes what is not known for a failure', () => {
    const run = new Run().attempt(failed, LOST);
    run.database.charges.push({ ...run.database.charges[0]!, account_id: 'acct_b', description: failed.id });
    expect(run.verdict.violations.map(({ invariant }) => invariant)).not.toContain('a failure has no effect');
  });

  it.each<[string, (evidence: Evidence) => Evidence]>([
    [
      'kill never landed',
      (evidence) => ({ ...evidence, history: evidence.history.filter(({ type }) => type !== 'fault') }),
    ],
    ['freeze never landed', (evidence) => ({ ...evidence, faults: ['kill', 'freeze'] })],
    ['the database or the journal could not be read', (evidence) => ({ ...evidence, end: undefined })],
    ['the database or the journal could not be read', (evidence) => ({ ...evidence, healed: undefined })],
    [
      'the run did not come to its end',
      (evidence) => ({
        ...evidence,
        history: evidence.history.filter(({ type }) => type !== 'phase'),
      }),
    ],
  ])('does not know, rather than finds nothing wrong, when %s', (doubt, doubtful) => {
    const { verdict, doubts } = check(doubtful(new Run().evidence));
    expect({ verdict, doubts }).toEqual({ verdict: 'unknown', doubts: [doubt] });
  });

  it('says invalid, whatever else it does not know', () => {
    const run = new Run().chargeAgain(7);
    run.faults = ['freeze'];
    expect(run.verdict.verdict).toBe('invalid');
  });
});
