import { Subject } from 'rxjs';
import type { Config } from '../../config.js';
import { Problem } from '../../http/problem.js';
import { within } from '../../timing/time-limit.js';
import type { Charge } from '../charge.entity.js';

/** The decision of the bank. It is final. */
export type Authorization = { status: 'succeeded' } | { status: 'failed'; declineCode: string };

export interface GatewayLimits {
  /** Milliseconds that one call may take. */
  timeoutMs: number;
  /** Milliseconds for which the gateway certainly honours an idempotency key, counted from the first call with the key. */
  keyLifeMs: number;
}

export const limitsOf = ({ GATEWAY_TIMEOUT_MS, GATEWAY_KEY_LIFE_SECONDS }: Config): GatewayLimits => ({
  timeoutMs: GATEWAY_TIMEOUT_MS,
  keyLifeMs: GATEWAY_KEY_LIFE_SECONDS * 1000,
});

/** Events for metrics and logs. Nothing depends on them. */
export type GatewayEvent =
  /** The key of the charge may have expired, and the gateway does not know the charge, so a person has to decide. */
  { type: 'undecided'; charge: Charge };

/**
 * Moves money at a bank. A transaction of our database cannot roll that back.
 *
 * The promise of this service depends on the gateway honouring its own idempotency key: while the key lives, the gateway captures once for
 * each key, and gives every request with the key the same answer. The key is the id of the charge, so every retry sends the same key.
 *
 * No gateway keeps its keys forever, and a request with a key that the gateway has forgotten is a new request. The invariant: this service
 * asks for money only while the key certainly lives. After that it only looks.
 */
export abstract class PaymentGateway {
  readonly events = new Subject<GatewayEvent>();

  constructor(readonly limits: GatewayLimits) {}

  /**
   * Asks the bank for the money, or finds out what the bank has decided. Call it outside of a transaction, because a slow bank would hold the
   * locks of the transaction.
   *
   * @param claimedAt a time at which the charge was not claimed yet, or was claimed just then, in milliseconds of `performance.now()`. The key
   *   was not used before.
   * @throws Problem 504 `gateway_timeout`, 503 `gateway_unavailable` or 503 `charge_undecided`. All of them leave the outcome unknown, because
   *   money may have moved
   */
  async authorize(charge: Charge, claimedAt: number): Promise<Authorization> {
    const { timeoutMs, keyLifeMs } = this.limits;
    // A call that begins now may reach the bank at any time before its timeout.
    const isKeyAlive = performance.now() + timeoutMs < claimedAt + keyLifeMs;
    const call = (giveUp: AbortSignal) => (isKeyAlive ? this.send(charge, giveUp) : this.find(charge, giveUp));
    const authorization = await within(timeoutMs, call, gatewayTimeout);
    if (authorization) return authorization;
    this.events.next({ type: 'undecided', charge });
    throw chargeUndecided();
  }

  /**
   * Looks for the decision of the bank, and moves no money.
   *
   * @returns `undefined` if the gateway does not know the charge
   * @throws Problem 504 `gateway_timeout` or 503 `gateway_unavailable`
   */
  look(charge: Charge): Promise<Authorization | undefined> {
    return within(this.limits.timeoutMs, (giveUp) => this.find(charge, giveUp), gatewayTimeout);
  }

  /** Asks for the money with the id of the charge as the idempotency key. The attempt ends when `giveUp` aborts. */
  protected abstract send(charge: Charge, giveUp: AbortSignal): Promise<Authorization>;

  /**
   * Looks for the decision and moves no money. The attempt ends when `giveUp` aborts.
   *
   * @returns `undefined` if the gateway does not know the charge
   */
  protected abstract find(charge: Charge, giveUp: AbortSignal): Promise<Authorization | undefined>;
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

/** Seconds for `Retry-After`. A person decides, which takes longer than any pause between two retries. */
const UNDECIDED_RETRY_SECONDS = 60;

const chargeUndecided = () =>
  new Problem(
    'charge_undecided',
    'The gateway does not know the charge, and is not asked again, because it may have forgotten an earlier request. The charge is pending.',
    { outcome: 'unknown', retryAfterSeconds: UNDECIDED_RETRY_SECONDS },
  );
