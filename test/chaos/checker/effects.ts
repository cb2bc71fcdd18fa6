import type { ChargeRow, DatabaseState, JournalEntry, RequestRow, Snapshot } from '../evidence.js';
import { parse } from '../history.js';
import type { Line } from '../operations.js';
import { acknowledged, chargeIdOf, contentOf, named, type Story } from './stories.js';
import type { Report } from './verdict.js';

const indexes = new WeakMap<object, Map<string, never[]>>();

/** The rows by some name, made once for each list. */
function index<Row>(rows: readonly Row[], name: (row: Row) => string): Map<string, Row[]> {
  const known = indexes.get(rows) as Map<string, Row[]> | undefined;
  if (known) return known;
  const made = new Map<string, Row[]>();
  for (const row of rows) made.set(name(row), [...(made.get(name(row)) ?? []), row]);
  indexes.set(rows, made as Map<string, never[]>);
  return made;
}

const byDescription = (charges: ChargeRow[]) => index(charges, ({ description }) => description ?? '');
const byCharge = (journal: JournalEntry[]) => index(journal, ({ charge }) => charge);
const byKey = (requests: DatabaseState['requests']) =>
  index(requests, ({ account_id, idempotency_key }) => named(account_id, idempotency_key));
const byOrder = (orders: DatabaseState['orders']) =>
  index(orders, ({ account_id, order_id }) => named(account_id, order_id));

const chargesOf = ({ operation }: Story, { charges }: DatabaseState): ChargeRow[] =>
  byDescription(charges).get(operation.id) ?? [];

/** Without the charge of a reply that was there before the run. */
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
      report('nothing lost', `${id}: charged in ${charge.currency} for ${String(charge.order_id)}`);
    }
    if (charge.account_id !== account) report('accounts do not cross', `${id}: charged to ${charge.account_id}`);
    if (charge.amount !== body['amount'])
      report('nothing lost', `${id}: ${charge.amount} charged of ${String(body['amount'])}`);
    const decisions = (byCharge(journal).get(charge.id) ?? []).map(({ decision }) => decision).join(' and ');
    const settled = { pending: decisions, succeeded: 'captured', failed: 'declined' }[charge.status];
    if (decisions !== settled)
      report('record and effect agree', `${id}: ${charge.status}, ${decisions || 'undecided'}`);
  }
  for (const { reply } of acknowledged(story)) {
    const content = parse(reply.body);
    const chargeId = reply.status === 200 ? content['id'] : content['charge_id'];
    const status = reply.status === 200 ? 'succeeded' : 'failed';
    if (reply.status !== 200 && reply.status !== 402) continue;
    const isThere = charges.some((charge) => charge.id === chargeId && charge.status === status);
    if (!isThere) report('nothing lost', `${id}: ${String(chargeId)} was acknowledged, and is not there`);
    if (reply.status === 200 && content['amount'] !== body['amount'])
      report('nothing lost', `${id}: ${String(content['amount'])} acknowledged of ${String(body['amount'])}`);
  }
}

export function checkOrder(story: Story, { orders }: DatabaseState, report: Report): void {
  const { id, body } = story.operation;
  const [order, ...others] = byOrder(orders).get(id) ?? [];
  if (others.length > 0) report('one effect', `${id}: ${others.length + 1} orders`);
  if (!order) {
    if (acknowledged(story).some(({ reply }) => reply.status === 200)) report('nothing lost', `${id}: no such order`);
    return;
  }
  if (order.customer_id !== id) report('accounts do not cross', `${id}: is an order of ${order.customer_id}`);
  const asked = contentsOf({ ...body, amount: costOf(body['items'] as Line[]) });
  if (contentsOf(order) !== asked) report('nothing lost', `${id}: ordered ${contentsOf(order)} of ${asked}`);
  for (const { reply } of acknowledged(story)) {
    if (reply.status !== 200) continue;
    const content = parse(reply.body);
    if (contentsOf(content) !== asked) report('nothing lost', `${id}: ${contentsOf(content)} acknowledged of ${asked}`);
    if (content['status'] === 'paid' && order.status !== 'paid')
      report('nothing lost', `${id}: was acknowledged as paid, and is not`);
  }
}

const costOf = (lines: Line[]) => lines.reduce((sum, { quantity, unit_amount }) => sum + quantity * unit_amount, 0);

/** What an order is about, in one text, wherever it is read. */
const contentsOf = (order: { order_id?: unknown; amount?: unknown; items?: unknown }) => {
  const lines = (order.items ?? []) as Line[];
  const pieces = lines.map(({ item_id, quantity, unit_amount }) => `${quantity} ${item_id} at ${unit_amount}`);
  return [order.order_id, ...pieces, order.amount].join(', ');
};

const onRecord = ({ response_status, content_type, response_body }: RequestRow) =>
  contentOf({ status: response_status, contentType: content_type, body: response_body });

/** Of an operation with a key: what was acknowledged last is what is on record. */
export function checkRecord(story: Story, { requests }: DatabaseState, report: Report): void {
  const { id, key } = story.operation;
  if (key === undefined) return;
  const records = byKey(requests).get(id) ?? [];
  if (records.length > 1) report('one effect', `${id}: ${records.length} records`);
  const last = acknowledged(story).at(-1)?.reply;
  if (!last) return;
  const [record] = records;
  if (!record?.completed) report('nothing lost', `${id}: was acknowledged, and is not on record`);
  else if (onRecord(record) !== contentOf(last)) {
    report('same reply', `${id}: ${contentOf(last)} was acknowledged, ${onRecord(record)} is on record`);
  }
}

/** Of an operation with a key: its effect came in one commit with a record, which has not expired. */
export function checkRecorded(story: Story, database: DatabaseState, report: Report): void {
  const { id, key } = story.operation;
  if (key === undefined) return;
  const records = byKey(database.requests).get(id) ?? [];
  const charges = new Set(records.map(({ request_id }) => chargeIdOf(request_id)));
  for (const charge of newChargesOf(story, database)) {
    if (!charges.has(charge.id)) report('record and effect agree', `${id}: ${charge.id} is on no record`);
  }
  if (byOrder(database.orders).has(id) && records.length === 0)
    report('record and effect agree', `${id}: ordered, and on no record`);
}

/** Whatever there is, somebody has asked for. */
export function checkAskedFor(stories: readonly Story[], database: DatabaseState, report: Report): void {
  const asked = new Set(stories.map(({ operation }) => operation.id));
  const found = [
    ...database.charges.map(({ id, description }) => [`${id}, ${description}`, description ?? '']),
    ...database.orders.map(({ account_id, order_id }) => named(account_id, order_id)).map((id) => [id, id]),
    ...[...byKey(database.requests).keys()].map((id) => [`the record of ${id}`, id]),
  ] as [string, string][];
  for (const [about, id] of found) if (!asked.has(id)) report('one effect', `${about}: nobody has asked for it`);
}

/** Sent until it is answered, an operation is answered. `since` is when everything was sent again. */
export function checkAnswered(story: Story, since: number, report: Report): void {
  if (!acknowledged(story).some(({ invokedAt }) => invokedAt >= since))
    report('nothing unfinished', `${story.operation.id}: not answered in the end`);
}

/** Every attempt failed for certain, so there must be nothing. `healed` was taken before the attempts from `until` on. */
export function checkFailures(story: Story, { database }: Snapshot, until: number, report: Report): void {
  const { operation, recorded } = story;
  const attempts = story.attempts.filter(({ invokedAt }) => invokedAt < until);
  if (recorded || attempts.length === 0 || !attempts.every(({ result }) => result === 'fail')) return;
  const effects = chargesOf(story, database).length + (byOrder(database.orders).get(operation.id) ?? []).length;
  if (effects > 0) report('a failure has no effect', `${operation.id}: failed every time, and has an effect`);
}
