import { Subject } from 'rxjs';
import type { Config } from '../../config.js';
import { Problem } from '../../http/problem.js';
import { within } from '../../timing/time-limit.js';
import type { Charge } from '../charge.entity.js';
import type { Refund } from '../refunds/refund.entity.js';

/** The decision of the bank. It is final. */
export type Authorization = { status: 'succeeded' } | { status: 'failed'; declineCode: string };

/** The decision of the bank about a refund. It is final. */
export type RefundDecision = { status: 'succeeded' } | FailedRefund;

export interface FailedRefund {
  status: 'failed';
  failureCode: string;
  /** The gateway made the refund and gave it up later. Otherwise the gateway refused the refund, and never made it. */
  isGivenUp: boolean;
}

export interface GatewayLimits {
  /** Milliseconds that one call may take. */
  timeoutMs: number;
  /**
   * Milliseconds for which the gateway certainly honours the idempotency key of a charge, counted from the first call with the key. Infinity if
   * a charge can be asked for again without a key.
   */
  chargeKeyLifeMs: number;
  /** The same for the key of a refund. */
  refundKeyLifeMs: number;
}

export const limitsOf = ({ GATEWAY_TIMEOUT_MS, GATEWAY_KEY_LIFE_SECONDS }: Config): GatewayLimits => ({
  timeoutMs: GATEWAY_TIMEOUT_MS,
  chargeKeyLifeMs: GATEWAY_KEY_LIFE_SECONDS * 1000,
  refundKeyLifeMs: GATEWAY_KEY_LIFE_SECONDS * 1000,
});

/**
 * A fault on our side, for which a gateway refuses a request: the idempotency key came with other parameters, the request is not valid, the API
 * key is unknown, or the API key lacks a right. No retry helps.
 */
export const GATEWAY_FAULTS = ['idempotency', 'invalid_request', 'authentication', 'permission'] as const;

export type GatewayFault = (typeof GATEWAY_FAULTS)[number];

/** Events for metrics and logs. Nothing depends on them. */
export type GatewayEvent =
  /** The key of the charge may have expired, and the gateway does not know the charge, so a person has to decide. */
  | { type: 'undecided'; charge: Charge }
  /** The same for a refund. */
  | { type: 'refund undecided'; refund: Refund }
  /** A person has to correct the code or the settings of this service. */
  | { type: 'fault'; fault: GatewayFault; error: Error };

/**
 * Moves money at a bank. A transaction of our database cannot roll that back.
 *
 * The promise of this service depends on the gateway honouring its own idempotency key: while the key lives, the gateway moves money once for
 * each key, and gives every request with the key the same answer. The key is the id of the charge or of the refund, so every retry sends the
 * same key.
 *
 * No gateway keeps its keys forever, and a request with a key that the gateway has forgotten is a new request. The invariant: this service
 * asks for money only while the key certainly lives. After that it only looks.
 */
export abstract class PaymentGateway {
  readonly events = new Subject<GatewayEvent>();
  /** The name by which a charge remembers its gateway. */
  abstract readonly name: string;

  constructor(readonly limits: GatewayLimits) {}

  /**
   * Asks the bank for the money, or finds out what the bank has decided. Call it outside of a transaction, because a slow bank would hold the
   * locks of the transaction.
   *
   * @param claimedAt a time that is not later than the claim of the charge, in milliseconds of `performance.now()`. The key was not used before
   *   this time.
   * @throws Problem 504 `gateway_timeout`, 503 `gateway_unavailable` or 503 `charge_undecided`. All of them leave the outcome unknown, because
   *   money may have moved
   */
  async authorize(charge: Charge, claimedAt: number): Promise<Authorization> {
    if (charge.gateway !== this.name) this.expectOwn(charge);
    const { timeoutMs, chargeKeyLifeMs } = this.limits;
    // A call that begins now may reach the bank at any time before its timeout.
    const isKeyAlive = performance.now() + timeoutMs < claimedAt + chargeKeyLifeMs;
    const call = (giveUp: AbortSignal) => (isKeyAlive ? this.send(charge, giveUp) : this.find(charge, giveUp));
    const authorization = await within(timeoutMs, call, gatewayTimeout);
    if (authorization) return authorization;
    this.events.next({ type: 'undecided', charge });
    throw chargeUndecided();
  }

  /**
   * Asks the bank to return money of a charge, or finds out what the bank has decided. Call it outside of a transaction.
   *
   * @param claimedAt as in `authorize`, for the refund
   * @throws Problem 504 `gateway_timeout`, 503 `gateway_unavailable` or 503 `refund_undecided`. All of them leave the outcome unknown
   */
  async refund(refund: Refund, charge: Charge, claimedAt: number): Promise<RefundDecision> {
    this.expectOwn(charge);
    const { timeoutMs, refundKeyLifeMs } = this.limits;
    const isKeyAlive = performance.now() + timeoutMs < claimedAt + refundKeyLifeMs;
    const call = (giveUp: AbortSignal) =>
      isKeyAlive ? this.sendRefund(refund, charge, giveUp) : this.findRefund(refund, charge, giveUp);
    const decision = await within(timeoutMs, call, gatewayTimeout);
    if (decision) return decision;
    this.events.next({ type: 'refund undecided', refund });
    throw refundUndecided();
  }

  /**
   * Looks for the decision of the bank, and moves no money.
   *
   * @returns `undefined` if the gateway does not know the charge
   * @throws Problem 504 `gateway_timeout` or 503 `gateway_unavailable`
   */
  async look(charge: Charge): Promise<Authorization | undefined> {
    this.expectOwn(charge);
    return within(this.limits.timeoutMs, (giveUp) => this.find(charge, giveUp), gatewayTimeout);
  }

  /** Looks for the decision about a refund, as `look` does for a charge. */
  async lookRefund(refund: Refund, charge: Charge): Promise<RefundDecision | undefined> {
    this.expectOwn(charge);
    return within(this.limits.timeoutMs, (giveUp) => this.findRefund(refund, charge, giveUp), gatewayTimeout);
  }

  /**
   * The invariant: only the gateway that was asked first is asked for a charge. Another gateway does not know what was captured, so it would
   * capture again, for example after a change of the settings.
   *
   * @throws Problem 503 `gateway_unavailable` if the charge belongs to another gateway
   */
  expectOwn({ id, gateway }: Charge): void {
    if (!gateway || gateway === this.name) return;
    throw gatewayUnavailable(new Error(`${id} belongs to the gateway ${gateway}, and this process uses ${this.name}`));
  }

  /** Asks for the money with the id of the charge as the idempotency key. The attempt ends when `giveUp` aborts. */
  protected abstract send(charge: Charge, giveUp: AbortSignal): Promise<Authorization>;

  /**
   * Looks for the decision and moves no money. The attempt ends when `giveUp` aborts.
   *
   * @returns `undefined` if the gateway does not know the charge
   */
  protected abstract find(charge: Charge, giveUp: AbortSignal): Promise<Authorization | undefined>;

  /** Asks to return money of the charge, with the id of the refund as the idempotency key. The attempt ends when `giveUp` aborts. */
  protected abstract sendRefund(refund: Refund, charge: Charge, giveUp: AbortSignal): Promise<RefundDecision>;

  /**
   * Looks for the decision about a refund, and moves no money. The attempt ends when `giveUp` aborts.
   *
   * @returns `undefined` if the gateway does not know the refund
   */
  protected abstract findRefund(
    refund: Refund,
    charge: Charge,
    giveUp: AbortSignal,
  ): Promise<RefundDecision | undefined>;
}

const RETRY = { outcome: 'unknown', retryAfterSeconds: 1 } as const;

const gatewayTimeout = () =>
  new Problem(
    'gateway_timeout',
    'The gateway has not answered in time, so it is not known yet whether money was moved.',
    RETRY,
  );

export const gatewayUnavailable = (cause?: unknown) =>
  new Problem('gateway_unavailable', 'The gateway is unavailable; the charge or the refund is pending.', {
    ...RETRY,
    cause,
  });

/** Seconds for `Retry-After`. A person decides, which takes longer than any pause between two retries. */
const UNDECIDED_RETRY_SECONDS = 60;

const chargeUndecided = () =>
  new Problem(
    'charge_undecided',
    'The gateway does not know the charge, and is not asked again, because it may have forgotten an earlier request. The charge is pending.',
    { outcome: 'unknown', retryAfterSeconds: UNDECIDED_RETRY_SECONDS },
  );

const refundUndecided = () =>
  new Problem(
    'refund_undecided',
    'The gateway does not know the refund, and is not asked again, because it may have forgotten an earlier request. The refund is pending.',
    { outcome: 'unknown', retryAfterSeconds: UNDECIDED_RETRY_SECONDS },
  );
