import { Problem } from '../../http/problem.js';
import { within } from '../../timing/time-limit.js';
import type { Charge } from '../charge.entity.js';
import type { Refund } from '../refunds/refund.entity.js';

/** The decision of the bank. It is final, because the same key always gets the same decision. */
export type Authorization = { status: 'succeeded' } | { status: 'failed'; declineCode: string };

/** The decision of the bank about a refund. It is final, like an {@link Authorization}. */
export type RefundDecision = { status: 'succeeded' } | { status: 'failed'; failureCode: string };

/**
 * Moves money at a bank. A transaction of our database cannot roll that back.
 *
 * The promise of this service depends on the gateway honouring its own idempotency key: the gateway captures once for each key, and gives
 * every request with the key the same answer. The key is the id of the charge, so every retry sends the same key.
 */
export abstract class PaymentGateway {
  constructor(private readonly timeoutMs: number) {}

  /**
   * Asks the bank for the money. Call it outside of a transaction, because a slow bank would hold the locks of the transaction.
   *
   * @throws Problem 504 `gateway_timeout` or 503 `gateway_unavailable`. Both leave the outcome unknown, because money may have moved
   */
  async authorize(charge: Charge): Promise<Authorization> {
    return within(this.timeoutMs, (giveUp) => this.send(charge, giveUp), gatewayTimeout);
  }

  /**
   * Asks the bank to return money of a charge. The key is the id of the refund.
   *
   * @throws Problem 504 `gateway_timeout` or 503 `gateway_unavailable`. Both leave the outcome unknown, because money may have moved
   */
  async refund(refund: Refund, charge: Charge): Promise<RefundDecision> {
    return within(this.timeoutMs, (giveUp) => this.sendRefund(refund, charge, giveUp), gatewayTimeout);
  }

  /** Sends one attempt, which ends when `giveUp` aborts. */
  protected abstract send(charge: Charge, giveUp: AbortSignal): Promise<Authorization>;

  /** Sends one attempt of a refund, which ends when `giveUp` aborts. */
  protected abstract sendRefund(refund: Refund, charge: Charge, giveUp: AbortSignal): Promise<RefundDecision>;
}

const RETRY = { outcome: 'unknown', retryAfterSeconds: 1 } as const;

const gatewayTimeout = () =>
  new Problem(
    'gateway_timeout',
    'The gateway has not answered in time, so it is not known yet whether money was taken.',
    RETRY,
  );

export const gatewayUnavailable = (cause?: unknown) =>
  new Problem('gateway_unavailable', 'The gateway is unavailable; the charge is pending.', { ...RETRY, cause });
