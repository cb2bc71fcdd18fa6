import { runPrepared } from '../database/prepared.js';
import { Problem } from '../http/problem.js';
import type { Phase, Reply } from '../idempotency/index.js';
import type { Charge } from './charge.entity.js';
import type { CreateCharge } from './charge.input.js';
import { toResource } from './charge.resource.js';
import type { Authorization } from './gateway/payment.gateway.js';

/** A charge bears the name of its request, so whoever retries or recovers it finds the same one. */
export const chargeId = (requestId: string) => `ch_${requestId.replaceAll('-', '')}`;

/** Makes the intent durable before any money moves. Repeatable: a charge that is open already is the same one. */
export const open: Phase<CreateCharge, Charge> = async (tx, items) => {
  const charges = items.map(({ accountId, requestId, input }) => ({
    account_id: accountId,
    id: chargeId(requestId),
    amount: input.amount,
    currency: input.currency,
    source: input.source ?? 'tok_visa',
    order_id: input.order_id ?? null,
    description: input.description ?? null,
    metadata: input.metadata ?? {},
    status: 'pending' as const,
    decline_code: null,
    settled_at: null,
  }));
  const opened = await runPrepared<Pick<Charge, 'id' | 'created_at'>>(tx, OPEN, [JSON.stringify(charges)]);
  const times = new Map(opened.map(({ id, created_at }) => [id, created_at]));
  return charges.map((charge) => ({ ...charge, created_at: found(times.get(charge.id), charge.id) }));
};

/** Records what the bank decided. Whether it may be committed is decided by the lock token, in the same transaction. */
export const settle: Phase<{ charge: Charge; outcome: Authorization }, Reply> = async (tx, items) => {
  const charges = items.map(({ input: { charge, outcome } }) => ({
    ...charge,
    status: outcome.status,
    decline_code: outcome.status === 'failed' ? outcome.declineCode : null,
  }));
  const settled = await runPrepared<Pick<Charge, 'id'>>(tx, SETTLE, [JSON.stringify(charges)]);
  if (settled.length !== charges.length)
    throw new Error(`${charges.length} charges were to be settled, ${settled.length} were`);
  return charges.map(toReply);
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

const COLUMNS = 'account_id, id, amount, currency, source, order_id, description, metadata';

const OPEN = {
  name: 'charges_open',
  text: `
    INSERT INTO charges (${COLUMNS}, status, created_at)
    SELECT ${COLUMNS}, 'pending', clock_timestamp() FROM jsonb_populate_recordset(NULL::charges, $1::jsonb)
    -- Changes nothing, so that the row which is there already is returned as well. It is the same: the key stands for it.
    ON CONFLICT (account_id, id) DO UPDATE SET status = charges.status
    RETURNING id, created_at`,
};

const SETTLE = {
  name: 'charges_settle',
  text: `
    INSERT INTO charges (${COLUMNS}, created_at, status, decline_code, settled_at)
    SELECT ${COLUMNS}, created_at, status, decline_code, clock_timestamp()
    FROM jsonb_populate_recordset(NULL::charges, $1::jsonb)
    -- It is there. Were it not, what the bank has decided would have to be on record all the same.
    ON CONFLICT (account_id, id) DO UPDATE
    SET status = excluded.status, decline_code = excluded.decline_code, settled_at = excluded.settled_at
    RETURNING id`,
};

function found<T>(value: T | undefined, id: string): T {
  if (value === undefined) throw new Error(`${id} is missing`);
  return value;
}
