import type { Repository } from 'typeorm';
import { Problem } from '../http/problem.js';
import type { PhaseItem, Reply, StatementPhase } from '../idempotency/index.js';
import { appendToOutbox } from '../messaging/index.js';
import type { Charge } from './charge.entity.js';
import type { CreateCharge } from './dto/create-charge.dto.js';
import { toResource } from './dto/charge.resource.js';
import type { Authorization } from './gateway/payment.gateway.js';

/** The id of a charge derives from the id of its request, so every retry and the recovery find the same charge. */
export const chargeId = (requestId: string) => `ch_${requestId.replaceAll('-', '')}`;

/** The id of the request that opened a charge or a refund. */
export const requestIdOf = (id: string) => id.slice(3).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');

/** The operation whose requests open charges, as `processed_requests` stores it. */
export const CREATE_CHARGE = 'POST /charges';

const COLUMNS = 'account_id, id, amount, currency, source, order_id, description, metadata, gateway';

const AGE_MS = 'extract(epoch FROM clock_timestamp() - charges.created_at)::float8 * 1000';

// `OFFSET 0` keeps PostgreSQL from merging a lateral subquery into its statement, so every row is found through the primary key (ADR 11).
//
// Each phase of a charge is one statement, because the phases with TypeORM would cost a quarter of the throughput. ADR 24 has the measurement
// and, for comparison, the first phase with TypeORM.

/** Makes the intent durable before any money moves. A repetition returns the charge that is open already. */
export const openCharge: StatementPhase<NewCharge, OpenCharge> = {
  name: 'charges_open',
  text: `
    WITH request AS MATERIALIZED (
      SELECT request.*, open.created_at AS opened_at, open.gateway AS opened_with, open.age_ms
      FROM jsonb_populate_recordset(NULL::charges, $1::jsonb) AS request
      LEFT JOIN LATERAL (
        SELECT created_at, gateway, ${AGE_MS} AS age_ms FROM charges
        WHERE account_id = request.account_id AND id = request.id
        OFFSET 0
      ) AS open ON true
    ), opened AS (
      -- No other transaction can open the same charge at the same time, because this transaction holds the key of its request.
      INSERT INTO charges (${COLUMNS}, status, created_at)
      SELECT ${COLUMNS}, 'pending', clock_timestamp() FROM request WHERE opened_at IS NULL
      RETURNING id, created_at, gateway, ${AGE_MS} AS age_ms
    )
    SELECT * FROM opened
    UNION ALL
    SELECT id, opened_at, opened_with, age_ms FROM request WHERE opened_at IS NOT NULL`,
  parameters: (items) => [JSON.stringify(items.map(pending))],
  results: async (items, rows) => {
    const opened = (await rows) as unknown as Pick<OpenCharge, 'id' | 'created_at' | 'gateway' | 'age_ms'>[];
    const byId = new Map(opened.map((row) => [row.id, row]));
    return items.map((item) => {
      const charge = pending(item);
      const row = byId.get(charge.id);
      if (!row) throw new Error(`${charge.id} is missing`);
      return { ...charge, ...row };
    });
  },
};

/** A request for a charge, and the gateway that this process asks for the money. */
export type NewCharge = CreateCharge & { gateway: string };

/** A charge whose intent is durable. */
export interface OpenCharge extends Charge {
  /** Milliseconds since the claim of the charge, when the row was read. The clock of the database counts, because the clocks of replicas differ. */
  age_ms: number;
}

/** Reads a charge for an attempt that continues it. */
export async function findOpenCharge(charges: Repository<Charge>, key: ChargeKey): Promise<OpenCharge | undefined> {
  const [charge] = await charges.query<OpenCharge[]>(FIND_OPEN, [key.account_id, key.id]);
  return charge;
}

type ChargeKey = Pick<Charge, 'account_id' | 'id'>;

const FIND_OPEN = `SELECT charges.*, ${AGE_MS} AS age_ms FROM charges WHERE account_id = $1 AND id = $2`;

/**
 * Stores the bank's decision and, if the charge has succeeded, appends `charge.succeeded` to the outbox.
 *
 * The lock token, which is checked in the same transaction, decides whether the decision is committed. The reply does not depend on the
 * rows of the statement, so it is recorded without waiting for them.
 */
export const settleCharge: StatementPhase<Settlement, Reply> = {
  name: 'charges_settle',
  text: `
    WITH decided AS MATERIALIZED (
      SELECT decided.*, found.tableoid AS row_tableoid, found.ctid AS row_ctid, found.status = 'pending' AS is_open
      FROM jsonb_to_recordset($1::jsonb) AS decided (account_id text, id text, status text, decline_code text)
      LEFT JOIN LATERAL (
        SELECT tableoid, ctid, status FROM charges WHERE account_id = decided.account_id AND id = decided.id
        OFFSET 0
      ) AS found ON true
    ), settled AS (
      -- A repetition changes nothing, so it appends no message.
      UPDATE charges
      SET status = decided.status, decline_code = decided.decline_code, settled_at = clock_timestamp()
      FROM decided WHERE is_open AND charges.tableoid = row_tableoid AND charges.ctid = row_ctid
      RETURNING charges.account_id, charges.id, amount, currency, order_id, charges.status
    ), messages AS (
      SELECT account_id, 'charge.succeeded' AS type, id AS subject,
             jsonb_build_object('charge_id', id, 'amount', amount, 'currency', currency, 'order_id', order_id) AS data
      FROM settled WHERE status = 'succeeded'
      UNION ALL
      -- The invariant: no reply is recorded without its charge. If a charge is missing, or was changed by another transaction since it was read, the
      -- outbox refuses this row of NULLs, so the whole transaction fails. It runs again, and reads the row that the other transaction has left.
      SELECT NULL, NULL, NULL, NULL FROM decided
      WHERE row_ctid IS NULL
        OR is_open AND NOT EXISTS (
          SELECT FROM settled WHERE settled.account_id = decided.account_id AND settled.id = decided.id)
    )
    ${appendToOutbox('messages')}`,
  parameters: (items) => [
    JSON.stringify(
      items.map((item) => {
        const { account_id, id, status, decline_code } = settled(item);
        return { account_id, id, status, decline_code };
      }),
    ),
  ],
  results: (items) => Promise.resolve(items.map((item) => toReply(settled(item)))),
};

export interface Settlement {
  charge: Charge;
  authorization: Authorization;
}

/** The row of a charge before the bank is asked, without `created_at`, which the clock of the database sets. */
export const pending = ({ accountId, requestId, input }: Omit<PhaseItem<NewCharge>, 'isRecorded'>) => ({
  account_id: accountId,
  id: chargeId(requestId),
  amount: input.amount,
  currency: input.currency,
  source: input.source ?? 'tok_visa',
  order_id: input.order_id ?? null,
  description: input.description ?? null,
  metadata: input.metadata ?? {},
  gateway: input.gateway,
  status: 'pending' as const,
  decline_code: null,
  settled_at: null,
});

export const settled = ({ input: { charge, authorization } }: PhaseItem<Settlement>): Charge => ({
  ...charge,
  status: authorization.status,
  decline_code: authorization.status === 'failed' ? authorization.declineCode : null,
});

/** 200 with the charge, or 402. Both replies are recorded and replayed. */
export function toReply(charge: Charge): Reply {
  if (charge.status === 'succeeded') return { status: 200, body: toResource(charge, 0) };
  const declined = new Problem('card_declined', 'The bank declined the card; no money was taken.', {
    outcome: 'final',
    extensions: { decline_code: charge.decline_code, charge_id: charge.id },
  });
  return declined.toReply();
}
