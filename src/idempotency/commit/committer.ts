import type { Observable } from 'rxjs';
import type { RecordedReply } from '../request/reply.js';
import type { Claim, Granted } from '../store/claim.js';
import type { Unit } from './unit.js';

/** The result of committing a unit. */
export type CommitResult =
  /** The phase is committed. `result` is the result of the phase for this request. */
  | { kind: 'committed'; requestId: string; result: unknown }
  /** The phase is committed, together with its reply. */
  | { kind: 'recorded'; requestId: string; reply: RecordedReply }
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
