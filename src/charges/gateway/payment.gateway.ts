import { Problem } from '../../http/problem.js';
import { within } from '../../timing/time-limit.js';
import type { Charge } from '../charge.entity.js';

/** What the bank decided. Final: the same key gets the same decision. */
export type Authorization = { status: 'succeeded' } | { status: 'failed'; declineCode: string };

/**
 * Moves money outside our database, where no transaction of ours reaches.
 *
 * The promise of this service rests on the gateway honouring its own idempotency key: the same key is captured
 * once, and answered alike, however often it is sent. The charge's id is that key, so it is the same at every retry.
 */
export abstract class PaymentGateway {
  constructor(private readonly timeoutMs: number) {}

  /**
   * Asks the bank for the money. Never within a transaction: it may take as long as the bank takes.
   *
   * @throws Problem 504 `gateway_timeout` or 503 `gateway_unavailable`. Neither is final: money may have moved.
   */
  async authorize(charge: Charge): Promise<Authorization> {
    return within(this.timeoutMs, (giveUp) => this.send(charge, giveUp), gatewayTimeout);
  }

  /** Sends one attempt, which ends when `giveUp` aborts. */
  protected abstract send(charge: Charge, giveUp: AbortSignal): Promise<Authorization>;
}

const RETRY = { outcome: 'unknown', retryAfterSeconds: 1 } as const;

const gatewayTimeout = () =>
  new Problem('gateway_timeout', 'The gateway has not answered; whether money was taken is not known yet.', RETRY);

export const gatewayUnavailable = (cause?: unknown) =>
  new Problem('gateway_unavailable', 'The gateway is unavailable; the charge is pending.', { ...RETRY, cause });
