import type { EntityManager } from 'typeorm';
import { DEMO_ACCOUNT } from '../../src/accounts/api-keys.js';
import type { Charge } from '../../src/charges/charge.entity.js';
import type { CreateCharge } from '../../src/charges/dto/create-charge.dto.js';
import { pending } from '../../src/charges/charges.phases.js';
import type { Authorization } from '../../src/charges/gateway/payment.gateway.js';
import { appendToOutbox } from '../../src/messaging/index.js';

/** The row that the service writes before it asks the bank. */
export const pendingCharge = (requestId: string, input: CreateCharge): Charge => ({
  ...pending({ accountId: DEMO_ACCOUNT, requestId, input: { ...input, gateway: 'simulated' } }),
  created_at: new Date(),
});

/** The columns that the service updates in that row after the answer of the bank. */
export const settlement = (outcome: Authorization): Pick<Charge, 'status' | 'decline_code' | 'settled_at'> => ({
  status: outcome.status,
  decline_code: outcome.status === 'failed' ? outcome.declineCode : null,
  settled_at: new Date(),
});

/** Appends the message with which the service announces a charge. */
export async function appendMessage(
  tx: EntityManager,
  { account_id, id, amount, currency, order_id }: Charge,
): Promise<void> {
  await tx.query(APPEND, [account_id, id, JSON.stringify({ charge_id: id, amount, currency, order_id })]);
}

const APPEND = `
  WITH messages AS (SELECT $1::text AS account_id, 'charge.succeeded' AS type, $2::text AS subject, $3::jsonb AS data)
  ${appendToOutbox('messages')}`;
