import { randomUUID } from 'node:crypto';
import { CommitUnknown, isOutage } from '../../postgres/transaction.js';
import { BackOff } from '../../timing/back-off.js';
import type { ClaimingUnit, CommitResult } from '../commit/committer.js';
import type { Leader } from '../commit/in-flight.js';
import {
  databaseUnavailable,
  IdempotencyError,
  idempotencyKeyInProgress,
  idempotencyKeyReused,
} from '../http/idempotency.errors.js';
import type { Idempotency } from '../idempotency.js';
import { FencedOff, KeyLocked } from '../store/idempotency.store.js';
import { IdempotentRequest } from './idempotent-request.js';
import type { AnyPhase } from './phase.js';
import type { RecordedReply, Reply } from './reply.js';
import { newRequestId } from './request-id.js';
import type { RequestIdentity } from './request-identity.js';

/** Thrown through the handler to the interceptor: the key has a reply, so the rest of the handler must not run. */
export class Duplicate extends Error {
  constructor(
    readonly reply: RecordedReply,
    /** Whether this attempt recorded the reply itself, and only lost the answer to its COMMIT. Then it is a first reply, not a replay. */
    readonly isOurs: boolean,
  ) {
    super('This request has a reply already');
  }
}

/** A request whose key was taken over from another attempt, with a new lock token. */
export interface TakenOver {
  readonly requestId: string;
  readonly lockToken: string;
}

type Committed = Extract<CommitResult, { kind: 'committed' | 'recorded' }>;

/** Maximum number of times that a unit is run if the answer to its COMMIT is lost. */
const ATTEMPTS_IN_DOUBT = 3;
/** Pauses between two claims of a key that another process holds. The first pause is short, because most requests are short. */
const WAITING = { shortestMs: 10, longestMs: 250 };

/** A request with an idempotency key. */
export class KeyedRequest extends IdempotentRequest {
  /** Whether the request had to wait for another attempt. */
  waited = false;
  /** The error with which a verb has ended the handler: a recorded reply, or an answer of this module. */
  ended?: Duplicate | IdempotencyError;

  private readonly lockToken: string;
  private readonly newRequestId = newRequestId();
  private requestId?: string;
  private leader?: Leader;
  private isInDoubt = false;

  constructor(
    private readonly identity: RequestIdentity,
    private readonly idempotency: Idempotency,
    takenOver?: TakenOver,
  ) {
    super();
    this.lockToken = takenOver?.lockToken ?? randomUUID();
    this.requestId = takenOver?.requestId;
  }

  get key(): string {
    return this.identity.key;
  }

  async claim<Input, Result>(phase: AnyPhase<Input, Result>, input: Input): Promise<Result> {
    if (this.requestId) throw new Error('A request is claimed once, and before it is completed');
    const { operation } = this.identity;
    // The invariant: a claimed request can be finished without its client.
    if (!this.idempotency.resumes.has(operation)) {
      throw new Error(`${operation} uses claim(), so it needs @Idempotent({ resumedBy: [Service, 'method'] })`);
    }
    const committed = await this.endHandlerOn(() =>
      this.claimAndCommit('claim', phase as AnyPhase<never, unknown>, input),
    );
    return (committed as Extract<Committed, { kind: 'committed' }>).result as Result;
  }

  async complete<Input>(phase: AnyPhase<Input, Reply>, input: Input): Promise<RecordedReply> {
    if (this.recorded) throw new Error('A request is completed once');
    const committed = await this.endHandlerOn(() => this.completeOnce(phase as AnyPhase<never, unknown>, input));
    this.recorded = (committed as Extract<Committed, { kind: 'recorded' }>).reply;
    return this.recorded;
  }

  /**
   * Waits for the same request if it is in flight in this process. Returns at once if it is not.
   *
   * @param dropBody called before the wait, because a duplicate whose handler never runs does not need its body
   * @throws Duplicate with the reply of the same request, or the error of the same request
   */
  async waitForSame(dropBody: () => void): Promise<void> {
    const same = this.idempotency.inFlight.find(this.identity);
    if (!same) return;
    dropBody();
    await this.follow(same);
  }

  /** Answers the duplicates that wait in this process. After a failure, first releases the key, so that the next attempt need not wait. */
  async finish(reply: RecordedReply | undefined, error?: unknown): Promise<void> {
    if (!reply && this.requestId) {
      // If the release fails too, the lease expires by itself. Do not wait for a database that is unavailable.
      const released = this.idempotency.store.release(this.identity, this.lockToken).catch(() => undefined);
      if (!isUnavailable(error)) await released;
    }
    if (!this.leader) return;
    this.idempotency.inFlight.end(this.leader);
    if (reply) this.leader.resolve(reply);
    else this.leader.reject(error);
  }

  /** Deletes the key of a request that has done nothing. If another attempt has taken over, the key stays. */
  forget(): Promise<void> {
    return this.idempotency.store.forget(this.identity, this.lockToken);
  }

  /** Completes the request if it is claimed already. Otherwise claims and completes it in one commit. */
  private async completeOnce(phase: AnyPhase<never, unknown>, input: unknown): Promise<Committed> {
    const { identity, lockToken, requestId } = this;
    if (!requestId) return this.claimAndCommit('claim-and-complete', phase, input);
    try {
      return (await this.commit({ kind: 'complete', identity, lockToken, requestId, phase, input })) as Committed;
    } catch (error) {
      if (error instanceof FencedOff) this.idempotency.events.next({ type: 'fenced_off' });
      else if (error instanceof CommitUnknown) this.isInDoubt = true;
      else throw error;
      // Only a new claim shows the state of the request: it finds the reply of the attempt that took over, or the reply of this attempt.
      return this.claimAndCommit('claim-and-complete', phase, input);
    }
  }

  /** Claims the key and commits the phase in the same transaction. Waits while another attempt holds the key. */
  private async claimAndCommit(
    kind: ClaimingUnit['kind'],
    phase: AnyPhase<never, unknown>,
    input: unknown,
  ): Promise<Committed> {
    if (!this.leader && !this.requestId) await this.lead();
    const deadline = performance.now() + this.idempotency.options.waitMs;
    const backOff = new BackOff(WAITING);
    for (;;) {
      const result = await this.claimOnce(kind, phase, input);
      switch (result.kind) {
        case 'committed':
        case 'recorded':
          this.requestId = result.requestId;
          return result;
        case 'completed':
          throw new Duplicate(result.reply, result.lockToken === this.lockToken);
        case 'reused':
          throw idempotencyKeyReused();
        case 'in_progress':
          this.waited = true;
          await backOff.pause();
      }
      if (performance.now() > deadline) throw idempotencyKeyInProgress();
    }
  }

  /**
   * Makes one attempt to claim the key and commit the phase. If the answer to COMMIT is lost, the request is in doubt and not failed, so it
   * claims the key again with the same lock token.
   */
  private async claimOnce(
    kind: ClaimingUnit['kind'],
    phase: AnyPhase<never, unknown>,
    input: unknown,
  ): Promise<CommitResult> {
    const { identity, lockToken, newRequestId, requestId, leader } = this;
    const onTaken = () => leader && this.idempotency.inFlight.hold(leader);
    for (let attempt = 1; ; attempt++) {
      const { isInDoubt } = this;
      try {
        const claim = { kind, identity, lockToken, newRequestId, requestId, isInDoubt, onTaken };
        return await this.commit({ ...claim, phase, input });
      } catch (error) {
        if (error instanceof KeyLocked) return { kind: 'in_progress' };
        if (!(error instanceof CommitUnknown) || attempt === ATTEMPTS_IN_DOUBT) throw error;
        // Claiming again resolves the doubt, because the insert waits for a commit that is still under way and then finds its row.
        this.isInDoubt = true;
      }
    }
  }

  private async commit(unit: Parameters<Idempotency['committer']['commit']>[0]): Promise<CommitResult> {
    const { committer, replies } = this.idempotency;
    const result = await committer.commit(unit);
    if (result.kind === 'completed' || result.kind === 'recorded') {
      replies.keep(this.identity, result.reply, result.expiresAt);
    }
    return result;
  }

  /** Answers from memory, or waits for the same request in this process, or becomes the leader that its duplicates wait for. */
  private async lead(): Promise<void> {
    const { inFlight, options, replies } = this.idempotency;
    const known = replies.find(this.identity);
    if (known === 'reused' || inFlight.isTaken(this.identity)) throw idempotencyKeyReused();
    if (known) throw new Duplicate(known, false);
    const same = inFlight.find(this.identity);
    if (same) await this.follow(same);
    // There is no await between `find` and `lead`, so only one of two duplicates becomes the leader.
    this.leader = inFlight.lead(this.identity, options.leaseSeconds);
  }

  /** Waits for the same request, which is in flight in this process, and throws its reply as a `Duplicate`, or its error. */
  private async follow(same: Leader): Promise<never> {
    this.waited = true;
    const { inFlight, options } = this.idempotency;
    throw new Duplicate(await inFlight.follow(same, this.identity, options.waitMs), false);
  }

  /**
   * Runs a verb, and keeps an error that must reach the interceptor. If the handler swallows such an error, its next verb fails, because
   * the handler does not hold the key.
   *
   * Fails closed: if the database is unavailable, the state of the key is unknown, so the handler must not go on. The `outcome` of the error
   * says whether something may have been committed.
   */
  private async endHandlerOn<T>(verb: () => Promise<T>): Promise<T> {
    if (this.ended) throw new Error(SWALLOWED, { cause: this.ended });
    try {
      return await verb();
    } catch (error) {
      const outcome = this.requestId || this.isInDoubt ? 'unknown' : 'not_started';
      // An answer of this module keeps its own outcome, because it may come from a reply that is recorded or from the leader of this request.
      const isAnswer = error instanceof IdempotencyError;
      const answer = !isAnswer && isOutage(error) ? databaseUnavailable(outcome, error) : error;
      if (answer instanceof Duplicate || answer instanceof IdempotencyError) this.ended = answer;
      throw answer;
    }
  }
}

/** The error message for a handler that has caught the error with which claim() or complete() ended it. */
export const SWALLOWED =
  'the handler caught an error of claim() or complete() and went on, but such an error ends the handler: rethrow it in every catch block';

const isUnavailable = (error: unknown) => error instanceof IdempotencyError && error.code === 'database_unavailable';
