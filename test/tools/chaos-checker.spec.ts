import { describe, expect, it } from '@jest/globals';
import { check } from '../chaos/checker/checker.js';
import { type Invariant, INVARIANTS } from '../chaos/checker/verdict.js';
import type { DatabaseState, Evidence } from '../chaos/evidence.js';
import { parse } from '../chaos/history.js';
import { LEASE_MS } from '../chaos/timing.js';
import {
  asItIs,
  charge,
  CHARGED,
  chargedAs,
  chargeId,
  excess,
  EXCEEDED,
  failed,
  LOST,
  natural,
  ok,
  order,
  ORDERED,
  refund,
  REFUNDED,
  refundId,
  REFUSED,
  replay,
  replyOf,
  Run,
  uuid,
} from '../support/sound-run.js';

type Row<Table extends keyof DatabaseState> = DatabaseState[Table][number];
const change = <Table extends keyof DatabaseState>(run: Run, table: Table, values: Partial<Row<Table>>, row = 0) =>
  Object.assign(run.database[table][row] ?? {}, values);

/** A reply that the service never gave. */
const OTHERWISE = { ...replay(CHARGED), body: `${CHARGED.body} ` };
const BODY_OF_ANOTHER = JSON.stringify({ id: chargeId(1), description: failed.id });

/** Changes members of every reply of an operation and of its record. */
const answer = (run: Run, operation: typeof charge, values: object) => {
  const [was, row] = operation === charge ? [CHARGED, 0] : [ORDERED, 1];
  const reply = replay({ ...was, body: JSON.stringify({ ...parse(was.body), ...values }) });
  run.instead(operation, ok(reply)).resent[operation.id] = ok(reply);
  change(run, 'requests', { response_body: reply.body }, row);
};

/** From the second charge on, clients get the reply of that charge, and the record contains it. */
const replyWithSecondCharge = (run: Run) => {
  const reply = chargedAs(3);
  run.attempt(charge, ok(reply)).attempt(charge, ok(replay(reply)));
  run.resent[charge.id] = ok(replay(reply));
  change(run, 'requests', { response_body: reply.body });
};

const [CHARGE_MESSAGE, REFUND_MESSAGE] = [0, 1];
/** Takes a message while it is fresh. */
const takeFresh = (run: Run, message = CHARGE_MESSAGE) => run.takeFresh(run.database.messages[message]!);
/** Adds the row that a message has in the inbox of a consumer. */
const receive = (run: Run, consumer: string) =>
  run.database.processed.push({ account_id: 'acct_a', consumer, message_id: `charge.succeeded.${chargeId(1)}` });

/** Changes to a sound run, each of which breaks an invariant. */
const BROKEN: [Invariant, string, (run: Run) => unknown][] = [
  ['one effect', 'a key that was charged twice', (run) => run.chargeAgain(7)],
  ['one effect', 'a charge that was captured twice', (run) => run.journal.push({ ...run.journal[0]! })],
  [
    'record and effect agree',
    'a charge that a person has resolved as failed although the bank captured',
    (run) => change(run, 'charges', { status: 'failed', decline_code: 'resolved_as_failed' }),
  ],
  ['one effect', 'a key with two records', (run) => run.database.requests.push({ ...run.database.requests[0]! })],
  ['one effect', 'stock that was taken twice', (run) => change(run, 'stock', { stock: 96 })],
  ['one effect', 'a charge made again before its reply had expired', (run) => run.expires().chargeAgain(7)],
  ['nothing lost', 'a charge that was acknowledged and does not exist', (run) => (run.database.charges = [])],
  ['nothing lost', 'an order that was acknowledged and does not exist', (run) => (run.database.orders = [])],
  [
    'nothing lost',
    'an order with other items',
    (run) => change(run, 'orders', { items: [{ item_id: 'item_1', quantity: 1, unit_amount: 600 }] }),
  ],
  ['nothing lost', 'a charge of another amount', (run) => change(run, 'charges', { amount: 599 })],
  ['nothing lost', 'a reply that is no longer on record', (run) => run.database.requests.shift()],
  [
    'one gateway key',
    'a charge for which the bank received two keys',
    (run) => run.journal.push({ ...run.journal[0]!, key: 'another' }),
  ],
  ['same reply', 'two replies', (run) => run.attempt(charge, ok({ ...replay(CHARGED), body: `${CHARGED.body} ` }))],
  [
    'same reply',
    'two content types',
    (run) => run.attempt(charge, ok({ ...replay(CHARGED), contentType: 'text/plain' })),
  ],
  ['same reply', 'a record of another content type', (run) => change(run, 'requests', { content_type: 'text/plain' })],
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
  ['final is final', 'a retry that got a first reply again', (run) => run.attempt(charge, ok(CHARGED))],
  [
    'a failure has no effect',
    'a charge of an operation whose attempts all failed',
    (run) => run.database.charges.push({ ...run.database.charges[0]!, account_id: 'acct_b', description: failed.id }),
  ],
  ['record and effect agree', 'a record without its charge', (run) => change(run, 'requests', { request_id: uuid(9) })],
  ['record and effect agree', 'a record without its order', (run) => (run.database.orders = [])],
  [
    'record and effect agree',
    'an order whose record is not completed',
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
    'a pending charge without a key, which is never finished',
    (run) =>
      run.database.charges.push({ ...run.database.charges[0]!, id: chargeId(8), description: null, status: 'pending' }),
  ],
  [
    'one effect',
    'two orders of one name, each with its stock',
    (run) => {
      run.database.orders.push({ ...run.database.orders[0]! });
      change(run, 'stock', { stock: 96 });
    },
  ],
  [
    'one effect',
    'a charge that no operation requested',
    (run) => run.database.charges.push({ ...run.database.charges[0]!, id: chargeId(8), description: null }),
  ],
  [
    'one effect',
    'an order that no operation requested',
    (run) => run.database.orders.push({ ...run.database.orders[1]!, order_id: 'o-9' }),
  ],
  [
    'one effect',
    'a record that no operation requested',
    (run) => run.database.requests.push({ ...run.database.requests[0]!, idempotency_key: 'k-9' }),
  ],
  ['nothing lost', 'a charge of another currency', (run) => change(run, 'charges', { currency: 'usd' })],
  ['nothing lost', 'a charge for another order', (run) => change(run, 'charges', { order_id: 'o-2' })],
  ['nothing lost', 'an order of another amount', (run) => change(run, 'orders', { amount: 599 })],
  ['nothing lost', 'a charge that was acknowledged with another amount', (run) => answer(run, charge, { amount: 1 })],
  ['nothing lost', 'an order that was acknowledged with another amount', (run) => answer(run, order, { amount: 1 })],
  ['nothing lost', 'an order that was acknowledged with other items', (run) => answer(run, order, { items: [] })],
  ['nothing lost', 'an acknowledged order with another order_id', (run) => answer(run, order, { order_id: 'o-9' })],
  [
    'nothing lost',
    'an order that was acknowledged as paid and is not',
    (run) => change(run, 'orders', { status: 'placed' }, 1),
  ],
  [
    'nothing lost',
    'a decline that was acknowledged although the charge was not declined',
    (run) => (run.declined = { id: chargeId(5) }),
  ],
  [
    'same reply',
    'an order without a key that gets a different answer later',
    (run) => run.attempt(natural, asItIs({ amount: 1 })),
  ],
  [
    'same reply',
    'an order with two different times of payment',
    (run) => run.attempt(natural, asItIs({ status: 'paid', paid_at: 'tomorrow' })),
  ],
  [
    'same reply',
    'a reply that is neither the old one nor the new one, as it expires',
    (run) => {
      run.expires(15).attempt(charge, ok(OTHERWISE)).resent[charge.id] = ok({ ...replay(CHARGED), body: '{}' });
      change(run, 'requests', { response_body: '{}' });
    },
  ],
  ['final is final', 'an order that is no longer paid', (run) => run.attempt(natural, asItIs())],
  [
    'final is final',
    'two concurrent attempts that both executed the request',
    (run) => run.instead(charge, LOST).twice(charge, ok(CHARGED)),
  ],
  [
    'final is final',
    'an attempt that executed the request after its reply had been replayed',
    (run) => run.instead(charge, ok(replay(CHARGED))).attempt(charge, ok(CHARGED)),
  ],
  [
    'final is final',
    'an attempt that executed a request of a day ago again while its reply expired',
    (run) => run.expires(15).attempt(charge, ok(CHARGED)),
  ],
  [
    'record and effect agree',
    'an order without a record',
    (run) => (run.database.requests = run.database.requests.slice(0, 1)),
  ],
  [
    'record and effect agree',
    'a charge without a record',
    (run) => (run.database.requests = run.database.requests.slice(1)),
  ],
  ['record and effect agree', 'a declined charge on which the bank has not decided', (run) => (run.isDecided = false)],
  [
    'record and effect agree',
    'a decision of the bank on a charge that does not exist',
    (run) => run.journal.push({ ...run.journal[0]!, charge: 'ch_9', decision: 'declined' }),
  ],
  [
    'nothing unfinished',
    'an operation that is not answered in the end',
    (run) => (run.resent[failed.id] = { type: 'fail', reason: '503 database_unavailable' }),
  ],
  ['the books agree', 'a balance that counts twice', (run) => change(run, 'balances', { amount: 1200 })],
  [
    'the books agree',
    'a bank that captured more than the charges',
    (run) => run.journal.push({ ...run.journal[0]!, charge: 'ch_9', key: 'ch_9' }),
  ],
  ['nothing unfinished', 'a key in progress', (run) => change(run, 'requests', { completed: false })],
  ['nothing unfinished', 'a pending charge', (run) => change(run, 'charges', { status: 'pending' })],
  ['nothing unfinished', 'an unpublished message', (run) => change(run, 'messages', { published: false })],
  ['nothing unfinished', 'a dead letter', (run) => run.database.deadLetters.push(run.database.processed[0]!)],
  ['messages once', 'a charge without its message', (run) => (run.database.messages = [])],
  ['messages once', 'a message that a consumer has not processed', (run) => run.database.processed.pop()],
  [
    'messages once',
    'a message that a consumer processed twice',
    (run) => run.database.processed.push({ ...run.database.processed[0]! }),
  ],
  [
    'messages once',
    'a message about a charge that does not exist',
    (run) => run.database.messages.push({ account_id: 'acct_a', id: 'charge.succeeded.ch_9', published: true }),
  ],
  [
    'messages once',
    'a message that was taken while it was fresh, and is still in the outbox',
    (run) => {
      const [message] = run.database.messages;
      takeFresh(run).database.messages.push(message!);
    },
  ],
  [
    'messages once',
    'a message that was taken while it was fresh, and is in the inbox of a consumer',
    (run) => receive(takeFresh(run), 'balance'),
  ],
  [
    'messages once',
    'a message that was taken while it was fresh, and also released and processed by every consumer',
    (run) => run.database.taken.push({ account_id: 'acct_a', id: `charge.succeeded.${chargeId(1)}`, was_fresh: true }),
  ],
  [
    'messages once',
    'a message that was taken twice',
    (run) => run.database.taken.push({ ...takeFresh(run).database.taken[0]! }),
  ],
  [
    'messages once',
    'a message of a refund that was taken twice',
    (run) => run.database.taken.push({ ...takeFresh(run, REFUND_MESSAGE).database.taken[0]! }),
  ],
  [
    'messages once',
    'a message about no charge that was taken',
    (run) => run.database.taken.push({ account_id: 'acct_a', id: 'charge.succeeded.ch_9', was_fresh: true }),
  ],
  [
    'messages once',
    'a message that was deleted after its release, before it was published',
    (run) => change(takeFresh(run), 'taken', { was_fresh: false }),
  ],
  [
    'messages once',
    'a published message that was deleted after its release as well',
    (run) => run.database.taken.push({ account_id: 'acct_a', id: `charge.succeeded.${chargeId(1)}`, was_fresh: false }),
  ],
  [
    'messages once',
    'a message that was taken although a broker carries it',
    (run) => (takeFresh(run).hasBroker = true),
  ],
  ['messages once', 'a message that was taken without its payment', (run) => (takeFresh(run).database.payments = [])],
  [
    'messages once',
    'a message that paid twice when it was taken',
    (run) => change(takeFresh(run), 'payments', { amount: 1200 }),
  ],
  [
    'the books agree',
    'a message that was taken without its effect on the balance',
    (run) => change(takeFresh(run), 'balances', { amount: -100 }),
  ],
  [
    'the books agree',
    'a message that changed the balance twice when it was taken',
    (run) => change(takeFresh(run), 'balances', { amount: 1100 }),
  ],
  [
    'the books agree',
    'a message of a refund that was taken without its effect on the balance',
    (run) => change(takeFresh(run, REFUND_MESSAGE), 'balances', { amount: 600 }),
  ],
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
    (run) => run.attempt(failed, ok(replyOf(422, { code: 'idempotency_key_reused' }))),
  ],
  ['accounts do not cross', 'a charge to another account', (run) => change(run, 'charges', { account_id: 'acct_b' })],
  [
    'accounts do not cross',
    'an order of another account',
    (run) => change(run, 'orders', { customer_id: 'acct_b:o-1' }),
  ],
  [
    'accounts do not cross',
    'a capture for another account',
    (run) => Object.assign(run.journal[0] ?? {}, { account: 'acct_b' }),
  ],
  [
    'one effect',
    'a key that was refunded twice',
    (run) => run.database.refunds.push({ ...run.database.refunds[0]!, id: refundId(7) }),
  ],
  [
    'one effect',
    'a refund that no operation requested',
    (run) => run.database.refunds.push({ ...run.database.refunds[0]!, id: refundId(7), reason: null }),
  ],
  ['nothing lost', 'a refund that was acknowledged and does not exist', (run) => (run.database.refunds = [])],
  ['nothing lost', 'a refund of another amount', (run) => change(run, 'refunds', { amount: 99 })],
  ['nothing lost', 'a refund of another charge', (run) => change(run, 'refunds', { charge_id: chargeId(4) })],
  [
    'one gateway key',
    'a refund for which the bank received two keys',
    (run) => run.journal.push({ ...run.journal[1]!, key: 'another' }),
  ],
  [
    'record and effect agree',
    'a refund that the bank has never paid',
    (run) => (run.journal = run.journal.slice(0, 1)),
  ],
  [
    'record and effect agree',
    'a refund that the bank has paid and the service has not stored',
    (run) => run.journal.push({ ...run.journal[1]!, refund: refundId(7), key: refundId(7) }),
  ],
  [
    'record and effect agree',
    'a refund without a record',
    (run) => (run.database.requests = run.database.requests.slice(0, 2)),
  ],
  [
    'record and effect agree',
    'a record of a refund that does not exist',
    (run) => change(run, 'requests', { request_id: uuid(9) }, 2),
  ],
  [
    'record and effect agree',
    'a pending refund without a key, which is never finished',
    (run) => run.database.refunds.push({ ...run.database.refunds[0]!, id: refundId(7), status: 'pending' }),
  ],
  ['nothing unfinished', 'a pending refund', (run) => change(run, 'refunds', { status: 'pending' })],
  ['the books agree', 'a balance that does not count a refund', (run) => change(run, 'balances', { amount: 600 })],
  [
    'refunds within charges',
    'refunds that exceed their charge',
    (run) => run.database.refunds.push({ ...run.database.refunds[0]!, id: refundId(7), amount: 501 }),
  ],
  [
    'refunds within charges',
    'a bank that has paid back more than the charge',
    (run) => run.journal.push({ ...run.journal[1]!, refund: refundId(7), amount: 501 }),
  ],
  [
    'messages once',
    'a refund without its message',
    (run) => (run.database.messages = run.database.messages.slice(0, 1)),
  ],
  [
    'messages once',
    'a message of a refund that the balance has not processed',
    (run) => run.database.processed.shift(),
  ],
  ['accounts do not cross', 'a refund by another account', (run) => change(run, 'refunds', { account_id: 'acct_b' })],
  [
    'accounts do not cross',
    'the reply of a refund of another client',
    (run) => run.attempt(refund, ok({ ...REFUNDED, body: REFUNDED.body.replace('r-1', 'r-9') })),
  ],
  [
    'a failure has no effect',
    'a refund that was refused and made',
    (run) =>
      run.database.refunds.push({ ...run.database.refunds[0]!, id: refundId(6), amount: 501, reason: excess.id }),
  ],
  [
    'same reply',
    'a refused refund that gets another refusal later',
    (run) => run.attempt(excess, ok({ ...replay(EXCEEDED), body: `${EXCEEDED.body} ` })),
  ],
  [
    'as documented',
    'a refund that was refused although the charge has enough left',
    (run) => change(run, 'charges', { amount: 700 }),
  ],
  [
    'as documented',
    'a refund that is refused for another reason',
    (run) => run.attempt(refund, ok(replyOf(404, { code: 'not_found' }))),
  ],
  ['as documented', 'a process that has ended by itself', (run) => run.crashed.push(2)],
  [
    'as documented',
    'a decline of a card that the bank accepts',
    (run) => run.attempt(charge, ok(replyOf(402, { charge_id: chargeId(1) }))),
  ],
  ['as documented', 'an internal error', (run) => run.attempt(failed, { type: 'info', reason: '500 internal_error' })],
  [
    'as documented',
    'a correct retry that is refused',
    (run) => run.attempt(order, ok(replyOf(422, { code: 'idempotency_key_reused' }))),
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
  it('finds no violation in a correct run', () => {
    expect(new Run().verdict).toEqual({
      verdict: 'valid',
      violations: [],
      doubts: [],
      counts: { keys: 6, attempts: 15, ok: 13, fail: 1, info: 1 },
    });
  });

  it.each([
    ['a charge', CHARGE_MESSAGE],
    ['a refund', REFUND_MESSAGE],
  ])('accepts that the message of %s was taken while it was fresh, and another message was released', (_, message) => {
    expect(takeFresh(new Run(), message).verdict.violations).toEqual([]);
  });

  it('accepts messages that all went through a broker', () => {
    const run = new Run();
    run.hasBroker = true;
    expect(run.verdict.violations).toEqual([]);
  });

  it.each(BROKEN)('finds that the invariant "%s" does not hold: %s', (invariant, _, break_) => {
    const run = new Run();
    break_(run);
    const { verdict, violations } = run.verdict;
    expect(violations.map((violation) => violation.invariant)).toContain(invariant);
    expect(verdict).toBe('invalid');
  });

  it('breaks every invariant in at least one history', () => {
    expect(new Set(BROKEN.map(([invariant]) => invariant))).toEqual(new Set(Object.keys(INVARIANTS)));
  });

  it('counts a charge as a second charge for its key only if the first reply has not expired', () => {
    const run = new Run().expires().chargeAgain(500);
    replyWithSecondCharge(run);
    expect(run.verdict.violations).toEqual([]);
  });

  it('allows duplicates that waited for a request in flight to get a reply that has just expired', () => {
    const run = new Run()
      .expires()
      .attempt(charge, ok(replay(CHARGED)))
      .chargeAgain(500)
      .pass(LEASE_MS);
    replyWithSecondCharge(run);
    expect(run.verdict.violations).toEqual([]);
  });

  it('does not count a charge of a day ago as the effect of failed attempts', () => {
    const run = new Run().expires().instead(charge, REFUSED);
    expect(run.verdict.violations.map(({ invariant }) => invariant)).not.toContain('a failure has no effect');
  });

  it('accepts a charge that a person has resolved as failed, if the bank has decided nothing', () => {
    const run = new Run();
    run.declined = { decline_code: 'resolved_as_failed' };
    run.isDecided = false;
    expect(run.verdict.violations).toEqual([]);
  });

  it('never counts an attempt with an unknown outcome as a failure', () => {
    const run = new Run().attempt(failed, LOST);
    run.database.charges.push({ ...run.database.charges[0]!, account_id: 'acct_b', description: failed.id });
    expect(run.verdict.violations.map(({ invariant }) => invariant)).not.toContain('a failure has no effect');
  });

  it.each<[string, (evidence: Evidence) => Evidence]>([
    [
      'kill never landed',
      (evidence) => ({
        ...evidence,
        history: evidence.history.map((event) => (event.type === 'fault' ? { ...event, state: 'attempted' } : event)),
      }),
    ],
    ['freeze never landed', (evidence) => ({ ...evidence, faults: ['kill', 'freeze'] })],
    ['the database or the journal could not be read', (evidence) => ({ ...evidence, end: undefined })],
    ['the database or the journal could not be read', (evidence) => ({ ...evidence, healed: undefined })],
    [
      'the run did not come to its end',
      (evidence) => ({
        ...evidence,
        history: evidence.history.filter((event) => event.type !== 'phase' || event.name !== 'end'),
      }),
    ],
  ])('gives the verdict unknown instead of valid when %s', (doubt, doubtful) => {
    const { verdict, doubts } = check(doubtful(new Run().evidence));
    expect({ verdict, doubts }).toEqual({ verdict: 'unknown', doubts: [doubt] });
  });

  it('gives the verdict invalid even if there are also reasons for unknown', () => {
    const run = new Run().chargeAgain(7);
    run.faults = ['freeze'];
    expect(run.verdict.verdict).toBe('invalid');
  });
});
