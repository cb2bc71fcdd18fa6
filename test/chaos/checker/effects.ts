import type { ChargeRow, DatabaseState, JournalEntry, RefundRow, RequestRow, Snapshot } from '../evidence.js';
import { parse } from '../history.js';
import type { Line } from '../operations.js';
import { RESOLVED_AS_FAILED } from '../person.js';
import { acknowledged, chargeIdOf, contentOf, named, refundIdOf, type Story } from './stories.js';
import type { Report } from './verdict.js';

const indexes = new WeakMap<object, Map<string, never[]>>();

/** Groups rows by name, once for each list. Later calls for the same list return the same groups, so a list has one kind of name. */
function index<Row>(rows: readonly Row[], name: (row: Row) => string): Map<string, Row[]> {
  const known = indexes.get(rows) as Map<string, Row[]> | undefined;
  if (known) return known;
  const made = new Map<string, Row[]>();
  for (const row of rows) made.set(name(row), [...(made.get(name(row)) ?? []), row]);
  indexes.set(rows, made as Map<string, never[]>);
  return made;
}

const byDescription = (charges: ChargeRow[]) => index(charges, ({ description }) => description ?? '');
const byReason = (refunds: RefundRow[]) => index(refunds, ({ reason }) => reason ?? '');
/** The decisions of the bank, by the id of the charge or of the refund. */
const bySubject = (journal: JournalEntry[]) => index(journal, ({ charge, refund = charge }) => refund);
const byKey = (requests: DatabaseState['requests']) =>
  index(requests, ({ account_id, idempotency_key }) => named(account_id, idempotency_key));
const byOrder = (orders: DatabaseState['orders']) =>
  index(orders, ({ account_id, order_id }) => named(account_id, order_id));

const chargesOf = ({ operation }: Story, { charges }: DatabaseState): ChargeRow[] =>
  byDescription(charges).get(operation.id) ?? [];

/** The charges of a story, without the charge that was inserted before the run together with its reply. */
function newChargesOf(story: Story, database: DatabaseState): ChargeRow[] {
  const { recorded } = story;
  const old = recorded && parse(recorded.reply.body)['id'];
  return chargesOf(story, database).filter(({ id }) => id !== old);
}

export function checkCharge(story: Story, { database, journal }: Snapshot, report: Report): void {
  const { operation, recorded } = story;
  const { id, account, body } = operation;
  const charges = chargesOf(story, database);
  const made = newChargesOf(story, database);
  if (made.length > 1) report('one effect', `${id}: ${made.map((charge) => charge.id).join(' and ')}`);
  if (recorded && made.some(({ created_at }) => created_at < recorded.expiresAt)) {
    report('one effect', `${id}: charged again before its reply had expired`);
  }
  for (const charge of charges) {
    const asked = { currency: body['currency'] ?? charge.currency, order_id: body['order_id'] ?? null };
    if (charge.currency !== asked.currency || charge.order_id !== asked.order_id) {
      report('nothing lost', `${id}: charged in ${charge.currency} for order ${String(charge.order_id)}`);
    }
    if (charge.account_id !== account) report('accounts do not cross', `${id}: charged to ${charge.account_id}`);
    if (charge.amount !== body['amount'])
      report('nothing lost', `${id}: charged ${charge.amount} instead of ${String(body['amount'])}`);
    const decisions = (bySubject(journal).get(charge.id) ?? []).map(({ decision }) => decision).join(' and ');
    const failed = charge.decline_code === RESOLVED_AS_FAILED ? '' : 'declined';
    const settled = { pending: decisions, succeeded: 'captured', failed }[charge.status];
    if (decisions !== settled)
      report('record and effect agree', `${id}: ${charge.status}, but at the bank ${decisions || 'undecided'}`);
  }
  for (const { reply } of acknowledged(story)) {
    const content = parse(reply.body);
    const chargeId = reply.status === 200 ? content['id'] : content['charge_id'];
    const status = reply.status === 200 ? 'succeeded' : 'failed';
    if (reply.status !== 200 && reply.status !== 402) continue;
    const isThere = charges.some((charge) => charge.id === chargeId && charge.status === status);
    if (!isThere) report('nothing lost', `${id}: ${String(chargeId)} was acknowledged, but does not exist`);
    if (reply.status === 200 && content['amount'] !== body['amount'])
      report(
        'nothing lost',
        `${id}: ${String(content['amount'])} was acknowledged instead of ${String(body['amount'])}`,
      );
  }
}

export function checkRefund(story: Story, { database, journal }: Snapshot, report: Report): void {
  const { id, account, path, body } = story.operation;
  const refunds = byReason(database.refunds).get(id) ?? [];
  if (refunds.length > 1) report('one effect', `${id}: ${refunds.map((refund) => refund.id).join(' and ')}`);
  for (const refund of refunds) {
    if (refund.account_id !== account) report('accounts do not cross', `${id}: refunded by ${refund.account_id}`);
    const { amount = refund.amount } = body;
    if (path !== `/charges/${refund.charge_id}/refunds` || refund.amount !== amount)
      report('nothing lost', `${id}: refunded ${refund.amount} of ${refund.charge_id}`);
    const decisions = (bySubject(journal).get(refund.id) ?? []).map(({ decision }) => decision).join(' and ');
    // The bank refuses no refund, so a failed refund is one that a person has resolved.
    const settled = { pending: decisions, succeeded: 'refunded', failed: '' }[refund.status];
    if (decisions !== settled)
      report('record and effect agree', `${id}: ${refund.status}, but at the bank ${decisions || 'undecided'}`);
  }
  for (const { reply } of acknowledged(story)) {
    const content = parse(reply.body);
    const isThere = refunds.some((refund) => refund.id === content['id'] && refund.amount === content['amount']);
    if (reply.status === 200 && !isThere)
      report('nothing lost', `${id}: ${String(content['id'])} was acknowledged, but does not exist with its amount`);
    if (reply.status === 402 && !refunds.some((refund) => refund.status === 'failed'))
      report('nothing lost', `${id}: was acknowledged as failed, but has not failed`);
    if (reply.status === 409) checkRefusal(story, database, report);
  }
}

/** A refused refund has no effect, and the other refunds of its charge left less than it needed. */
function checkRefusal({ operation }: Story, { charges, refunds }: DatabaseState, report: Report): void {
  const { id, path, body } = operation;
  if (byReason(refunds).has(id)) report('a failure has no effect', `${id}: was refused, but there is a refund`);
  const charge = charges.find((row) => path === `/charges/${row.id}/refunds`);
  const others = refunds
    .filter(({ charge_id }) => charge_id === charge?.id)
    .reduce((sum, { amount }) => sum + amount, 0);
  // A request without an amount needs at least one minor unit.
  const needed = Number(body['amount'] ?? 1);
  if (charge && others + needed <= charge.amount)
    report('as documented', `${id}: was refused, although ${charge.amount - others} of ${charge.id} were left`);
}

export function checkOrder(story: Story, { orders }: DatabaseState, report: Report): void {
  const { id, body } = story.operation;
  const [order, ...others] = byOrder(orders).get(id) ?? [];
  if (others.length > 0) report('one effect', `${id}: ${others.length + 1} orders`);
  if (!order) {
    if (acknowledged(story).some(({ reply }) => reply.status === 200))
      report('nothing lost', `${id}: was acknowledged, but the order does not exist`);
    return;
  }
  if (order.customer_id !== id) report('accounts do not cross', `${id}: belongs to ${order.customer_id}`);
  const asked = contentsOf({ ...body, amount: costOf(body['items'] as Line[]) });
  if (contentsOf(order) !== asked)
    report('nothing lost', `${id}: the order is ${contentsOf(order)} instead of ${asked}`);
  for (const { reply } of acknowledged(story)) {
    if (reply.status !== 200) continue;
    const content = parse(reply.body);
    if (contentsOf(content) !== asked)
      report('nothing lost', `${id}: ${contentsOf(content)} was acknowledged instead of ${asked}`);
    if (content['status'] === 'paid' && order.status !== 'paid')
      report('nothing lost', `${id}: was acknowledged as paid, but is not paid`);
  }
}

const costOf = (lines: Line[]) => lines.reduce((sum, { quantity, unit_amount }) => sum + quantity * unit_amount, 0);

/** The id, pieces and amount of an order as one text, from a request, a reply or a row. */
const contentsOf = (order: { order_id?: unknown; amount?: unknown; items?: unknown }) => {
  const lines = (order.items ?? []) as Line[];
  const pieces = lines.map(({ item_id, quantity, unit_amount }) => `${quantity} ${item_id} at ${unit_amount}`);
  return [order.order_id, ...pieces, order.amount].join(', ');
};

const onRecord = ({ response_status, content_type, response_body }: RequestRow) =>
  contentOf({ status: response_status, contentType: content_type, body: response_body });

/** An operation with a key has one record, which contains the reply that was acknowledged last. */
export function checkRecord(story: Story, { requests }: DatabaseState, report: Report): void {
  const { id, key } = story.operation;
  if (key === undefined) return;
  const records = byKey(requests).get(id) ?? [];
  if (records.length > 1) report('one effect', `${id}: ${records.length} records`);
  const last = acknowledged(story).at(-1)?.reply;
  if (!last) return;
  const [record] = records;
  if (!record?.completed) report('nothing lost', `${id}: was acknowledged, but has no completed record`);
  else if (onRecord(record) !== contentOf(last)) {
    report('same reply', `${id}: ${contentOf(last)} was acknowledged, but ${onRecord(record)} is recorded`);
  }
}

/** The effect of an operation with a key has a record, because both are in one commit and the record has not expired. */
export function checkRecorded(story: Story, database: DatabaseState, report: Report): void {
  const { id, key } = story.operation;
  if (key === undefined) return;
  const records = byKey(database.requests).get(id) ?? [];
  const charges = new Set(records.map(({ request_id }) => chargeIdOf(request_id)));
  for (const charge of newChargesOf(story, database)) {
    if (!charges.has(charge.id)) report('record and effect agree', `${id}: ${charge.id} has no record`);
  }
  const refunded = new Set(records.map(({ request_id }) => refundIdOf(request_id)));
  for (const refund of byReason(database.refunds).get(id) ?? []) {
    if (!refunded.has(refund.id)) report('record and effect agree', `${id}: ${refund.id} has no record`);
  }
  if (byOrder(database.orders).has(id) && records.length === 0)
    report('record and effect agree', `${id}: the order has no record`);
}

/** Every charge, refund, order and record belongs to an operation that a client sent. */
export function checkAskedFor(stories: readonly Story[], database: DatabaseState, report: Report): void {
  const asked = new Set(stories.map(({ operation }) => operation.id));
  const found = [
    ...database.charges.map(({ id, description }) => [`${id}, ${description}`, description ?? '']),
    ...database.refunds.map(({ id, reason }) => [`${id}, ${reason}`, reason ?? '']),
    ...database.orders.map(({ account_id, order_id }) => named(account_id, order_id)).map((id) => [id, id]),
    ...[...byKey(database.requests).keys()].map((id) => [`the record of ${id}`, id]),
  ] as [string, string][];
  for (const [about, id] of found)
    if (!asked.has(id)) report('one effect', `${about}: no client sent such an operation`);
}

/** Every operation gets a final answer after `since`, the time at which the run began to send all operations again. */
export function checkAnswered(story: Story, since: number, report: Report): void {
  if (!acknowledged(story).some(({ invokedAt }) => invokedAt >= since))
    report('nothing unfinished', `${story.operation.id}: not answered although it was sent again and again`);
}

/** If every attempt before `until` certainly failed, there is no effect. The snapshot was taken before later attempts were sent. */
export function checkFailures(story: Story, { database }: Snapshot, until: number, report: Report): void {
  const { operation, recorded } = story;
  const attempts = story.attempts.filter(({ invokedAt }) => invokedAt < until);
  if (recorded || attempts.length === 0 || !attempts.every(({ result }) => result === 'fail')) return;
  const effects = [
    chargesOf(story, database),
    byReason(database.refunds).get(operation.id) ?? [],
    byOrder(database.orders).get(operation.id) ?? [],
  ].flat().length;
  if (effects > 0) report('a failure has no effect', `${operation.id}: every attempt failed, but there is an effect`);
}
