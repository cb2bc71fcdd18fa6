import { Problem } from '../http/problem.js';
import type { Phase, Reply } from '../idempotency/index.js';
import type { Charge } from './charge.entity.js';
import type { CreateCharge } from './charge.input.js';
import { toResource } from './charge.resource.js';
import type { Authorization } from './gateway/payment.gateway.js';

/** A charge bears the name of its request, so whoever retries or recovers it finds the same one. */
export const chargeId = (requestId: string) => `ch_${requestId.replaceAll('-', '')}`;

/** Makes the intent durable before any money moves. Repeatable: a charge that is open already is read. */
export const open: Phase<CreateCharge, Charge> = async (tx, items) => {
  const wanted = items.map(({ accountId, requestId, input }) => ({
    account_id: accountId,
    id: chargeId(requestId),
    amount: input.amount,
    currency: input.currency,
    source: input.source ?? 'tok_visa',
    order_id: input.order_id,
    description: input.description,
    metadata: input.metadata ?? {},
  }));
  const charges = await tx.query<Charge[]>(OPEN, [JSON.stringify(wanted)]);
  return inOrder(wanted, charges);
};

/** Records what the bank decided. Whether it may be committed is decided by the lock token, in the same transaction. */
export const settle: Phase<{ charge: Charge; outcome: Authorization }, Reply> = async (tx, items) => {
  const settled = items.map(({ input: { charge, outcome } }) => ({
    account_id: charge.account_id,
    id: charge.id,
    status: outcome.status,
    decline_code: outcome.status === 'failed' ? outcome.declineCode : null,
  }));
  const [charges] = await tx.query<[Charge[], number]>(SETTLE, [JSON.stringify(settled)]);
  return inOrder(settled, charges).map(toReply);
};

/** 200 with the charge, or 402. Both are answers: recorded, and replayed. */
function toReply(charge: Charge): Reply {
  if (charge.status === 'succeeded') return { status: 200, body: toResource(charge) };
  const declined = new Problem('card_declined', 'The bank declined the card; no money was taken.', {
    outcome: 'final',
    extensions: { decline_code: charge.decline_code, charge_id: charge.id },
  });
  return { status: declined.status, body: declined.body, headers: declined.headers };
}

const OPEN = `
  WITH wanted AS (
    SELECT * FROM jsonb_to_recordset($1::jsonb) AS w (account_id text, id text, amount integer, currency text, source text,
      order_id text, description text, metadata jsonb)
  ), opened AS (
    INSERT INTO charges (account_id, id, amount, currency, source, order_id, description, metadata, status, created_at)
    SELECT account_id, id, amount, currency, source, order_id, description, metadata, 'pending', clock_timestamp() FROM wanted
    ON CONFLICT (account_id, id) DO NOTHING
    RETURNING *
  )
  SELECT * FROM opened
  UNION ALL
  SELECT charges.* FROM charges JOIN wanted USING (account_id, id)`;

const SETTLE = `
  UPDATE charges SET status = settled.status, decline_code = settled.decline_code, settled_at = clock_timestamp()
  FROM jsonb_to_recordset($1::jsonb) AS settled (account_id text, id text, status text, decline_code text)
  WHERE charges.account_id = settled.account_id AND charges.id = settled.id
  RETURNING charges.*`;

/** One row for each item, in the items' order, which SQL does not keep. */
function inOrder(items: { id: string }[], charges: Charge[]): Charge[] {
  const byId = new Map(charges.map((charge) => [charge.id, charge]));
  return items.map(({ id }) => {
    const charge = byId.get(id);
    if (!charge) throw new Error(`${id} is missing`);
    return charge;
  });
}
