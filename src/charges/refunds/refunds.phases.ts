import type { EntityManager } from 'typeorm';
import type { AnyPhase, Phase, PhaseItem, Reply, Row, StatementPhase } from '../../idempotency/index.js';
import { appendToOutbox } from '../../messaging/index.js';
import { nameWithin } from '../../postgres/lock-order.js';
import type { Charge } from '../charge.entity.js';
import type { RefundDecision } from '../gateway/payment.gateway.js';
import type { CreateRefund } from './dto/create-refund.dto.js';
import { toResource } from './dto/refund.resource.js';
import type { Refund } from './refund.entity.js';
import { lockRefundable, type Refundable } from './refundable.js';
import { countReported } from './reported-refunds.js';
import { chargeNotFound, chargePending, refundExceedsCharge, refundFailed } from './refunds.problems.js';

/** The operation whose requests open refunds, as `processed_requests` stores it. */
export const CREATE_REFUND = 'POST /charges/:id/refunds';

/** The id of a refund derives from the id of its request, so every retry and the recovery find the same refund. */
export const refundId = (requestId: string) => `re_${requestId.replaceAll('-', '')}`;

/** A request for a refund of one charge. */
export interface NewRefund extends CreateRefund {
  chargeId: string;
}

/** A refund whose intent is durable. */
export interface OpenRefund extends Refund {
  /** Milliseconds since the claim of the refund, when the row was read, by the clock of the database. */
  age_ms: number;
}

/** The result of {@link openRefund}: a pending refund, or the refusal to record. A refusal leaves no row of a refund. */
export type Opened = { kind: 'open'; refund: OpenRefund; charge: Charge } | { kind: 'refused'; reply: Reply };

/**
 * Makes refunds durable before any money moves. A repetition returns the refund that is open already.
 *
 * A list may contain several refunds of one charge. Each gets the result that it would get after the commit of the refunds before it.
 *
 * @throws Problem 409 `charge_pending`
 */
export const openRefund: Phase<NewRefund, Opened> = async (tx, items) => {
  const charges = await lockRefundable(tx, items.map(chargeOf));
  const known = byName(await findOpenRefunds(tx, items.map(refundOf)));
  const decisions = items.map((item) => decide(item, charges.get(nameOf(chargeOf(item))), known));
  const wanted = decisions.flatMap((decision) => (decision.kind === 'open' ? [decision.refund] : []));
  const inserted = await insert(
    tx,
    wanted.filter((refund) => !known.has(nameOf(refund))),
  );
  return decisions.map((decision) => {
    if (decision.kind === 'refused') return decision;
    const { refund, charge } = decision;
    const stored = known.get(nameOf(refund)) ?? inserted.get(nameOf(refund));
    if (!stored) throw new Error(`${refund.id} is missing`);
    return { kind: 'open', refund: stored, charge };
  });
};

/** The database sets the time of a new refund, and that the refund is not given up. */
type NewRow = Omit<Refund, 'created_at' | 'is_given_up'>;

type Decision = { kind: 'open'; refund: NewRow; charge: Charge } | Extract<Opened, { kind: 'refused' }>;

/** Decides one request. A new refund reduces what is left of its charge for the requests behind it in the list. */
function decide(
  item: PhaseItem<NewRefund>,
  found: Refundable | undefined,
  known: ReadonlyMap<string, OpenRefund>,
): Decision {
  if (!found) return { kind: 'refused', reply: chargeNotFound().toReply() };
  const { charge, left } = found;
  const refund = known.get(nameOf(refundOf(item)));
  if (refund) return { kind: 'open', refund, charge };
  if (charge.status === 'pending') throw chargePending();
  const amount = item.input.amount ?? left;
  if (amount > left || left === 0) return { kind: 'refused', reply: refundExceedsCharge(left).toReply() };
  found.left -= amount;
  const { currency } = charge;
  const row = { ...refundOf(item), charge_id: charge.id, amount, currency, reason: item.input.reason ?? null };
  return { kind: 'open', charge, refund: { ...row, status: 'pending', failure_code: null, settled_at: null } };
}

const chargeOf = ({ accountId, input }: PhaseItem<NewRefund>) => ({ account_id: accountId, id: input.chargeId });
const refundOf = ({ accountId, requestId }: PhaseItem<NewRefund>) => ({
  account_id: accountId,
  id: refundId(requestId),
});
const nameOf = ({ account_id, id }: RefundName) => nameWithin(account_id, id);
const byName = (refunds: readonly OpenRefund[]) => new Map(refunds.map((refund) => [nameOf(refund), refund]));

type RefundName = Pick<Refund, 'account_id' | 'id'>;

/** Reads refunds for attempts that continue them. */
export const findOpenRefunds = (db: Pick<EntityManager, 'query'>, names: readonly RefundName[]) =>
  db.query<OpenRefund[]>(FIND, [JSON.stringify(names)]);

async function insert(tx: EntityManager, rows: readonly NewRow[]): Promise<Map<string, OpenRefund>> {
  return byName(rows.length > 0 ? await tx.query<OpenRefund[]>(INSERT, [JSON.stringify(rows)]) : []);
}

const WITH_AGE = 'refunds.*, extract(epoch FROM clock_timestamp() - refunds.created_at)::float8 * 1000 AS age_ms';

const FIND = `
  SELECT ${WITH_AGE} FROM refunds WHERE (account_id, id) IN (
    SELECT account_id, id FROM jsonb_to_recordset($1::jsonb) AS name (account_id text, id text))`;

const INSERT = `
  INSERT INTO refunds (account_id, id, charge_id, amount, currency, reason, status, created_at)
  SELECT account_id, id, charge_id, amount, currency, reason, status, clock_timestamp()
  FROM jsonb_populate_recordset(NULL::refunds, $1::jsonb)
  RETURNING ${WITH_AGE}`;

/** Records a refusal that {@link openRefund} returned. It writes nothing else. */
export const recordRefusal: Phase<Reply, Reply> = (_tx, items) => Promise.resolve(items.map(({ input }) => input));

export interface Settlement {
  refund: Refund;
  decision: RefundDecision;
}

/**
 * Stores the bank's decision and, if the refund has succeeded, appends `refund.succeeded` to the outbox.
 *
 * The lock token, which is checked in the same transaction, decides whether the decision is committed.
 */
const settleRefund: StatementPhase<Settlement, Reply> = {
  name: 'refunds_settle',
  text: `
    WITH settled AS (
      UPDATE refunds SET status = decided.status, failure_code = decided.failure_code, is_given_up = decided.is_given_up,
                         settled_at = clock_timestamp()
      FROM jsonb_populate_recordset(NULL::refunds, $1::jsonb) AS decided
      WHERE refunds.account_id = decided.account_id AND refunds.id = decided.id
        -- A repetition changes nothing, so it appends no message.
        AND refunds.status = 'pending'
      RETURNING refunds.*
    ), messages AS (
      SELECT account_id, 'refund.succeeded' AS type, id AS subject,
             jsonb_build_object('refund_id', id, 'charge_id', charge_id, 'amount', amount, 'currency', currency) AS data
      FROM settled WHERE status = 'succeeded'
    )
    ${appendToOutbox('messages')}`,
  parameters: (items) => [JSON.stringify(items.map(settled))],
  results: (items) => Promise.resolve(items.map((item) => toReply(settled(item)))),
};

/**
 * Stores the failure of a refund. A refund that the bank refused may have hidden a refund that was made elsewhere, so the refunds of the charge
 * are counted again.
 */
const failRefund: Phase<Settlement, Reply> = async (tx, items) => {
  const rows = await tx.query<Row[]>(settleRefund.text, settleRefund.parameters(items));
  const charges = items.map(({ input: { refund } }) => ({
    account_id: refund.account_id,
    id: refund.charge_id,
    reported: 0,
  }));
  // One row for each charge, because the statement inserts each row once.
  await countReported(tx, [...new Map(charges.map((charge) => [nameOf(charge), charge])).values()]);
  return settleRefund.results(items, Promise.resolve(rows));
};

/** The phase that stores a decision of the bank. */
export const settlementOf = ({ status }: RefundDecision): AnyPhase<Settlement, Reply> =>
  status === 'failed' ? failRefund : settleRefund;

const settled = ({ input: { refund, decision } }: PhaseItem<Settlement>): Refund => ({
  ...refund,
  status: decision.status,
  failure_code: decision.status === 'failed' ? decision.failureCode : null,
  is_given_up: decision.status === 'failed' && decision.isGivenUp,
});

/** 200 with the refund, or 402. Both replies are recorded and replayed. */
const toReply = (refund: Refund): Reply =>
  refund.status === 'succeeded' ? { status: 200, body: toResource(refund) } : refundFailed(refund).toReply();
