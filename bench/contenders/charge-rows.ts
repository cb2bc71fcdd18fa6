import type { Charge } from '../../src/charges/charge.entity.js';
import type { CreateCharge } from '../../src/charges/charge.input.js';
import { chargeId } from '../../src/charges/charges.phases.js';
import type { Authorization } from '../../src/charges/gateway/payment.gateway.js';

/** Whom the service takes everybody for, while it has no API keys. */
export const ACCOUNT_ID = 'acct_demo';

/** The row that the service writes before it asks the bank. */
export function pendingCharge(requestId: string, input: CreateCharge): Charge {
  return {
    account_id: ACCOUNT_ID,
    id: chargeId(requestId),
    amount: input.amount,
    currency: input.currency,
    source: input.source ?? 'tok_visa',
    order_id: input.order_id ?? null,
    description: input.description ?? null,
    metadata: input.metadata ?? {},
    status: 'pending',
    decline_code: null,
    created_at: new Date(),
    settled_at: null,
  };
}

/** What it writes into that row after. */
export const settlement = (outcome: Authorization): Pick<Charge, 'status' | 'decline_code' | 'settled_at'> => ({
  status: outcome.status,
  decline_code: outcome.status === 'failed' ? outcome.declineCode : null,
  settled_at: new Date(),
});
