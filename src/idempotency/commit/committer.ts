import type { Observable } from 'rxjs';
import type { AnyPhase, PhaseItem } from '../request/phase.js';
import type { RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';
import type { Attempt, Claim, Granted } from '../store/claim.js';

/** A phase of one request that is to be committed, and the change of the request's key in the same transaction. */
export type Unit = {
  readonly identity: RequestIdentity;
  readonly phase: AnyPhase<never, unknown>;
  readonly input: unknown;
} & (
  | ClaimingUnit
  /** Runs the phase and records the reply that it returns, on a key that is claimed already. */
  | { readonly kind: 'complete'; readonly lockToken: string; readonly requestId: string }
  /** Runs the phase only, because the request came without a key. */
  | { readonly kind: 'unkeyed'; readonly requestId: string }
);

/** Takes the key and runs the phase; `claim-and-complete` records the reply as well. */
export interface ClaimingUnit extends Attempt {
  readonly kind: 'claim' | 'claim-and-complete';
  /** The request id of an earlier claim of this request, if there was one. The unit fails if the key now belongs to a new request. */
  readonly requestId?: string;
  /** Called when the database has granted the key, before the commit. */
  onTaken?(): void;
}

/** The result of committing a unit. */
export type CommitResult =
  /** The phase is committed. `result` is the result of the phase for this request. */
  | { kind: 'committed'; requestId: string; result: unknown }
  /**
   * The phase is committed, together with its reply. `expiresAt` is a time before which the reply does not expire, in milliseconds of
   * `performance.now()`.
   */
  | { kind: 'recorded'; requestId: string; reply: RecordedReply; expiresAt: number }
  /** Nothing is committed, because the key could not be taken. */
  | Exclude<Claim, Granted>;

/**
 * Commits units, each exactly once or not at all: the key, the effect and the reply of a unit are atomic.
 *
 * {@link OneByOne} is the plain implementation. {@link GroupCommit} does the same faster, for many requests at once.
 */
export abstract class Committer {
  /** Emits the number of requests in a transaction after the transaction has been committed. */
  abstract readonly sizes: Observable<number>;

  /**
   * Commits one unit. A request has one unit at a time.
   *
   * @throws CommitUnknown if the answer to COMMIT was lost; FencedOff if another attempt has taken over; KeyLocked if a transaction holds
   *   the key for too long; and every error of the phase. After every error except CommitUnknown, nothing is committed
   */
  abstract commit(unit: Unit): Promise<CommitResult>;
}

/** Whether the unit has to take its key first. */
export const isClaiming = (unit: Unit): unit is Unit & ClaimingUnit =>
  unit.kind === 'claim' || unit.kind === 'claim-and-complete';

/** Whether the phase of the unit returns the reply that is recorded. */
export const isCompleting = (unit: Unit): unit is Unit & { lockToken: string } =>
  unit.kind === 'complete' || unit.kind === 'claim-and-complete';

/**
 * Reports to the unit that the database has granted its key.
 *
 * @throws Error if the unit belongs to a request that was claimed before, and the key has expired since then and belongs to a new request
 */
export function take(unit: Unit & ClaimingUnit, { requestId }: Granted): void {
  if (unit.requestId && unit.requestId !== requestId) {
    throw new Error('The key expired while its request was being processed, and now belongs to a new request');
  }
  unit.onTaken?.();
}

/** The item that the phase of the unit gets. */
export const itemOf = (unit: Unit, requestId: string): PhaseItem<never> => ({
  accountId: unit.identity.accountId,
  requestId,
  isRecorded: isCompleting(unit),
  input: unit.input as never,
});
