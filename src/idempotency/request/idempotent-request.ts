import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { LargeReply } from '../store/claim.js';
import type { Outcome, Unit } from '../commit/group.js';
import {
  databaseUnavailable,
  IdempotencyError,
  idempotencyKeyInProgress,
  idempotencyKeyReused,
} from '../http/idempotency.errors.js';
import type { Idempotency } from '../idempotency.js';
import { FencedOff } from '../store/idempotency.store.js';
import type { Leader } from '../commit/in-flight.js';
import type { AnyPhase } from './phase.js';
import type { RecordedReply, Reply } from './reply.js';
import { newRequestId } from './request-id.js';
import type { RequestIdentity } from './request-identity.js';
import { CommitUnknown, isOutage } from '../../postgres/transaction.js';

/** Thrown through the handler to the interceptor: the reply is there already, and the handler is not needed. */
export class Duplicate extends Error {
  constructor(
    readonly reply: RecordedReply,
    /** Recorded by this very attempt, whose COMMIT went unanswered: a first reply after all. */
    readonly isOurs: boolean,
  ) {
    super('This request has been answered before');
  }
}

/** An outcome, read whole. */
type Read = Exclude<Outcome, LargeReply>;

/** What one of the two verbs wants committed. */
type Work = Pick<Unit, 'phase' | 'input' | 'completes'>;

/** How often a unit is run again when the answer to its COMMIT was lost. */
const DOUBT_ATTEMPTS = 3;
/** Between two looks at a key that another process holds: short at first, since most requests are. */
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 250;

/**
 * One request under its idempotency key, as its handler sees it.
 *
 * Where everything is in your database, `complete` alone is enough: key, effect and reply are one commit. Around
 * a call that cannot be rolled back, `claim` first makes the intent durable, and `complete` records what came of it.
 *
 * Returned is remembered, thrown is forgotten: a reply that a phase returns is recorded and replayed, whatever its
 * status. What is thrown rolls back, and the next attempt goes on from what was committed before.
 */
export class IdempotentRequest {
  /** The reply, once recorded by this attempt. */
  recorded?: RecordedReply;
  /** The duplicate had to wait for another attempt. */
  waited = false;

  private readonly lockToken: string;
  private readonly newRequestId = newRequestId();
  private requestId?: string;
  private leader?: Leader;
  private inDoubt = false;

  constructor(
    private readonly identity: RequestIdentity,
    private readonly idempotency: Idempotency,
    taken?: { requestId: string; lockToken: string },
  ) {
    this.lockToken = taken?.lockToken ?? randomUUID();
    this.requestId = taken?.requestId;
  }

  /**
   * Takes the key and commits `phase` with it. The phase must be repeatable: a retry runs it again, for the same
   * `requestId`.
   *
   * @returns the phase's result for this request
   * @throws IdempotencyError 409, 422 or 503; ends the handler when the reply is there already
   */
  async claim<Input, Result>(phase: AnyPhase<Input, Result>, input: Input): Promise<Result> {
    if (this.requestId) throw new Error('A request is claimed once, and before it is completed');
    const work = { phase: phase as Work['phase'], input, completes: false };
    return this.failClosed(() => this.underTheKey(work)) as Promise<Result>;
  }

  /**
   * Commits `phase` together with the reply it returns, and with the key where it was not claimed before.
   *
   * @returns the recorded reply, for the handler to return
   * @throws IdempotencyError 409, 422 or 503; ends the handler when another attempt has answered
   */
  async complete<Input>(phase: AnyPhase<Input, Reply>, input: Input): Promise<RecordedReply> {
    if (this.recorded) throw new Error('A request is completed once');
    const work = { phase: phase as Work['phase'], input, completes: true };
    const unit = async () => (await this.asHolder(work)) ?? (await this.underTheKey(work));
    this.recorded = (await this.failClosed(unit)) as RecordedReply;
    return this.recorded;
  }

  /**
   * Waits here for the same request if it is in flight in this process, and ends with its reply or its error. A duplicate that waits before
   * its handler runs needs nothing of its body any more.
   *
   * @param letGo drops the body; called before the wait
   */
  async waitForSame(letGo: () => void): Promise<void> {
    const same = this.idempotency.inFlight.find(this.identity);
    if (!same) return;
    letGo();
    await this.follow(same);
  }

  /** Tells the duplicates that wait in this process, and, after a failure, lets the next attempt in at once. */
  async settle(reply: RecordedReply | undefined, error?: unknown): Promise<void> {
    if (!reply && this.requestId) {
      // Should this fail too, the lease lapses by itself; a database that may be away is not waited for.
      const released = this.idempotency.store.release(this.identity, this.lockToken).catch(() => undefined);
      if (!isUnavailable(error)) await released;
    }
    if (!this.leader) return;
    this.idempotency.inFlight.end(this.leader);
    if (reply) this.leader.resolve(reply);
    else this.leader.reject(error);
  }

  /** Deletes the key of a request that has done nothing. Another attempt that has taken over keeps it. */
  forget(): Promise<void> {
    return this.idempotency.store.forget(this.identity, this.lockToken);
  }

  /** Commits `work` on a key claimed before; `undefined` when only a new claim can tell what became of it. */
  private async asHolder(work: Work): Promise<unknown> {
    if (!this.requestId) return undefined;
    try {
      const outcome = await this.commit(work, true);
      return outcome.kind === 'committed' ? outcome.result : undefined;
    } catch (error) {
      if (error instanceof FencedOff) this.idempotency.events.next({ type: 'fenced_off' });
      else if (error instanceof CommitUnknown) this.inDoubt = true;
      else throw error;
      return undefined;
    }
  }

  /** Claims the key and commits `work` with it, waiting for another holder if there is one. */
  private async underTheKey(work: Work): Promise<unknown> {
    await this.joinDuplicates();
    const deadline = performance.now() + this.idempotency.options.waitMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      const outcome = await this.claimAndCommit(work);
      switch (outcome.kind) {
        case 'committed':
          this.requestId = outcome.requestId;
          return outcome.result;
        case 'completed':
          throw new Duplicate(outcome.reply, outcome.lockToken === this.lockToken);
        case 'reused':
          throw idempotencyKeyReused();
        case 'in_progress':
          this.waited = true;
          await pause(pauseMs * (0.5 + Math.random() / 2));
      }
      if (performance.now() > deadline) throw idempotencyKeyInProgress();
    }
  }

  /** Answers from memory, waits for the same request in this process, or becomes the one that others wait for. */
  private async joinDuplicates(): Promise<void> {
    if (this.leader || this.requestId) return;
    const { inFlight, options, replies } = this.idempotency;
    const known = replies.find(this.identity);
    if (known === 'reused' || inFlight.isTaken(this.identity)) throw idempotencyKeyReused();
    if (known) throw new Duplicate(known, false);
    const same = inFlight.find(this.identity);
    // Nothing may be awaited between not finding the same request and becoming the one that is found.
    if (same) await this.follow(same);
    this.leader = inFlight.lead(this.identity, options.leaseSeconds);
  }

  /** Ends with the reply or the error of the same request, which is in flight in this process. */
  private async follow(same: Leader): Promise<never> {
    this.waited = true;
    const { inFlight, options } = this.idempotency;
    throw new Duplicate(await inFlight.follow(same, this.identity, options.waitMs), false);
  }

  private async claimAndCommit(work: Work): Promise<Read> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.commit(work, false);
      } catch (error) {
        if (!(error instanceof CommitUnknown) || attempt === DOUBT_ATTEMPTS) throw error;
        // A lost COMMIT is unknown, not failed. Claiming the key again with the same token resolves it: the insert
        // waits for a commit that is still on its way, and finds what it left.
        this.inDoubt = true;
      }
    }
  }

  private async commit(work: Work, holds: boolean): Promise<Read> {
    const { identity, leader } = this;
    const { commits, inFlight, replies } = this.idempotency;
    const committed = await commits.commit({
      identity,
      lockToken: this.lockToken,
      newRequestId: this.newRequestId,
      requestId: this.requestId,
      holds,
      phase: work.phase,
      input: work.input,
      completes: work.completes,
      inDoubt: this.inDoubt,
      granted: () => leader && inFlight.hold(leader),
    });
    const outcome = committed.kind === 'large-reply' ? await this.readReply(committed) : committed;
    if (outcome.kind === 'completed') replies.keep(identity, outcome.reply, outcome.expiresAt);
    if (outcome.kind === 'committed' && outcome.expiresAt !== undefined) {
      replies.keep(identity, outcome.result as RecordedReply, outcome.expiresAt);
    }
    return outcome;
  }

  private readReply(large: LargeReply): Promise<Read> {
    return this.idempotency.store.readReply(this.identity, large).catch((error: unknown) => {
      // The request is known to be completed, so the answer must not say that nothing was started.
      throw isOutage(error) ? databaseUnavailable('unknown', error) : error;
    });
  }

  /** Without the database nothing is known of the key, so nothing is run, and the answer says what may have happened. */
  private async failClosed<T>(unit: () => Promise<T>): Promise<T> {
    try {
      return await unit();
    } catch (error) {
      if (!isOutage(error)) throw error;
      throw databaseUnavailable(this.requestId || this.inDoubt ? 'unknown' : 'not_started', error);
    }
  }
}

const isUnavailable = (error: unknown) => error instanceof IdempotencyError && error.code === 'database_unavailable';
