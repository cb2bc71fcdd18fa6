import { DEMO_ACCOUNT } from '../../src/accounts/account.guard.js';
import type { Charge } from '../../src/charges/charge.entity.js';
import type { CreateCharge } from '../../src/charges/charge.input.js';
import { pending } from '../../src/charges/charges.phases.js';
import type { Authorization } from '../../src/charges/gateway/payment.gateway.js';

/** The row that the service writes before it asks the bank. */
export const pendingCharge = (requestId: string, input: CreateCharge): Charge => ({
  ...pending({ accountId: DEMO_ACCOUNT, requestId, input }),
  created_at: new Date(),
});

/** What it writes into that row after. */
export const settlement = (outcome: Authorization): Pick<Charge, 'status' | 'decline_code' | 'settled_at'> => ({
  status: outcome.status,
  decline_code: outcome.status === 'failed' ? outcome.declineCode : null,
  settled_at: new Date(),
});
