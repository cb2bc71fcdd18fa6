import { randomUUID } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { CommitUnknown } from '../../postgres/transaction.js';
import { BackOff } from '../../timing/back-off.js';
import type { CommitResult } from '../commit/committer.js';
import type { ClaimingUnit, Unit } from '../commit/unit.js';
import {
  answerToOutage,
  IdempotencyError,
  idempotencyKeyInProgress,
  idempotencyKeyReused,
} from '../http/idempotency.errors.js';
import type { Idempotency } from '../idempotency.js';
import { FencedOff, KeyLocked } from '../store/idempotency.store.js';
import { IdempotentRequest } from './idempotent-request.js';
import type { AnyPhase } from './phase.js';
import type { RecordedReply, Reply } from './reply.js';
import type { RequestIdentity } from './request-identity.js';
import type { RequestOutcome } from '../upkeep/idempotency.events.js';

/** Thrown through the handler to the interceptor: the key has a reply, so the rest of the handler must not run. */
export class Duplicate extends Error {
  constructor(readonly reply: RecordedReply) {
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
  /** How the request is answered, if it gets a reply. */
  answeredAs: RequestOutcome = 'first';
  /** The error with which a verb has ended the handler: a recorded reply, or an answer of this module. */
  ended?: Duplicate | IdempotencyError;

  private readonly lockToken: string;
  /**
   * The request id, if the request turns out to be new. A version 7 UUID (RFC 9562 §5.7) sorts after every earlier id of this process, and
   * after the ids that other processes made in earlier milliseconds, so new rows are neighbours in the index, and a list can be paged by id.
   */
  private readonly newRequestId = uuidv7();
  private requestId?: string;
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

  /** Ends the lease of a request that has failed with `error`, so that the next attempt need not wait for the lease to expire. */
  async release(error: unknown): Promise<void> {
    if (!this.requestId) return;
    // If the release fails too, the lease expires by itself. Do not wait for a database that is unavailable.
    const released = this.idempotency.store.release(this.identity, this.lockToken).catch(() => undefined);
    if (!isUnavailable(error)) await released;
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
      return (await this.commitUnit({ kind: 'complete', identity, lockToken, requestId, phase, input })) as Committed;
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
    const deadline = performance.now() + this.idempotency.options.waitMs;
    const backOff = new BackOff(WAITING);
    let hasWaited = false;
    for (;;) {
      const result = await this.claimOnce(kind, phase, input);
      switch (result.kind) {
        case 'committed':
        case 'recorded':
          this.requestId = result.requestId;
          return result;
        case 'completed':
          // A reply under this lock token is a first reply: this attempt recorded it, and only lost the answer to its COMMIT.
          this.answeredAs = result.lockToken === this.lockToken ? 'first' : hasWaited ? 'waited' : 'replayed';
          throw new Duplicate(result.reply);
        case 'reused':
          throw idempotencyKeyReused();
        case 'in_progress':
          hasWaited = true;
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
    for (let attempt = 1; ; attempt++) {
      const { identity, lockToken, newRequestId, requestId, isInDoubt } = this;
      try {
        const unit = { kind, identity, lockToken, newRequestId, requestId, isInDoubt, phase, input };
        return await this.commitUnit(unit);
      } catch (error) {
        if (error instanceof KeyLocked) return { kind: 'in_progress' };
        if (!(error instanceof CommitUnknown) || attempt === ATTEMPTS_IN_DOUBT) throw error;
        // Claiming again resolves the doubt, because the insert waits for a commit that is still under way and then finds its row.
        this.isInDoubt = true;
      }
    }
  }

  private async commitUnit(unit: Unit): Promise<CommitResult> {
    const { committer, replies } = this.idempotency;
    const result = await committer.commit(unit);
    if (result.kind === 'completed' || result.kind === 'recorded') replies?.keep(this.identity, result.reply);
    return result;
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
      // An answer of this module keeps its own outcome. For example, the outcome is `unknown` if a recorded reply could not be read, although
      // this attempt has not claimed the key.
      const isAnswer = error instanceof IdempotencyError;
      const answer = isAnswer ? error : (answerToOutage(error, outcome) ?? error);
      if (answer instanceof Duplicate || answer instanceof IdempotencyError) this.ended = answer;
      throw answer;
    }
  }
}

/** The error message for a handler that has caught the error with which claim() or complete() ended it. */
export const SWALLOWED =
  'the handler caught an error of claim() or complete() and went on, but such an error ends the handler: rethrow it in every catch block';

const isUnavailable = (error: unknown) => error instanceof IdempotencyError && error.code === 'database_unavailable';
