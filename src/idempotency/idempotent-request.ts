import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { isDatabaseUnavailable, isLockTimeout } from './database-errors.js';
import {
  databaseUnavailable,
  IdempotencyError,
  idempotencyKeyInProgress,
  idempotencyKeyReused,
} from './idempotency.errors.js';
import type { Idempotency } from './idempotency.js';
import type { Claim, RequestIdentity } from './idempotency.store.js';
import type { Leader } from './in-flight.js';
import { type Phase, runPhase } from './phase.js';
import { record, type RecordedReply, type Reply } from './reply.js';
import { newRequestId } from './request-id.js';
import { CommitUnknown, inTransaction, type Transaction } from './transaction.js';

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

/** Another holder has taken over: nothing of this attempt may be committed. */
class FencedOff extends Error {}

/** The key is locked by a transaction that has not ended within `lock_timeout`. */
class KeyLocked extends Error {}

type Work<Result> = (tx: Transaction, requestId: string) => Promise<Result>;

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
  async claim<Input, Result>(phase: Phase<Input, Result>, input: Input): Promise<Result> {
    if (this.requestId) throw new Error('A request is claimed once, and before it is completed');
    return this.failClosed(() => this.underTheKey((tx, requestId) => this.run(phase, tx, requestId, input)));
  }

  /**
   * Commits `phase` together with the reply it returns, and with the key where it was not claimed before.
   *
   * @returns the recorded reply, for the handler to return
   * @throws IdempotencyError 409, 422 or 503; ends the handler when another attempt has answered
   */
  async complete<Input>(phase: Phase<Input, Reply>, input: Input): Promise<RecordedReply> {
    if (this.recorded) throw new Error('A request is completed once');
    const finish: Work<RecordedReply> = async (tx, requestId) => {
      const reply = record(await this.run(phase, tx, requestId, input));
      // The invariant: only the holder of the lock token commits an effect.
      if (!(await this.idempotency.store.complete(tx.sql, this.identity, this.lockToken, reply))) throw new FencedOff();
      return reply;
    };
    this.recorded = await this.failClosed(
      async () => (await this.asHolder(finish)) ?? (await this.underTheKey(finish)),
    );
    return this.recorded;
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

  /** Runs `work` on a key claimed before; `undefined` when only a new claim can tell what became of it. */
  private async asHolder<Result>(work: Work<Result>): Promise<Result | undefined> {
    const { requestId } = this;
    if (!requestId) return undefined;
    try {
      return await this.inTransaction((tx) => work(tx, requestId));
    } catch (error) {
      if (error instanceof FencedOff) this.idempotency.events.next({ type: 'fenced_off' });
      else if (error instanceof CommitUnknown) this.inDoubt = true;
      else throw error;
      return undefined;
    }
  }

  /** Claims the key and runs `work` in the same transaction, waiting for another holder if there is one. */
  private async underTheKey<Result>(work: Work<Result>): Promise<Result> {
    await this.joinDuplicates();
    const deadline = performance.now() + this.idempotency.options.waitMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      const claim = await this.claimOnce(work);
      switch (claim.kind) {
        case 'claimed':
          this.requestId = claim.requestId;
          return claim.result;
        case 'completed':
          throw new Duplicate(claim.reply, claim.lockToken === this.lockToken);
        case 'reused':
          throw idempotencyKeyReused();
        case 'raced':
          break;
        case 'in_progress':
          this.waited = true;
          await pause(pauseMs * (0.5 + Math.random() / 2));
      }
      if (performance.now() > deadline) throw idempotencyKeyInProgress();
    }
  }

  /** Waits for the same request in this process, or becomes the one that others wait for. */
  private async joinDuplicates(): Promise<void> {
    if (this.leader || this.requestId) return;
    const { inFlight, options } = this.idempotency;
    if (inFlight.isTaken(this.identity)) throw idempotencyKeyReused();
    const other = inFlight.find(this.identity);
    if (!other) {
      this.leader = inFlight.lead(this.identity, options.leaseSeconds);
      return;
    }
    this.waited = true;
    const timeout = new AbortController();
    const tooLong = pause(options.waitMs, undefined, { signal: timeout.signal, ref: false });
    const reply = await Promise.race([other.reply, tooLong]).finally(() => timeout.abort());
    if (!reply) throw idempotencyKeyInProgress();
    throw new Duplicate(reply, false);
  }

  private async claimOnce<Result>(
    work: Work<Result>,
  ): Promise<ClaimedWith<Result> | Exclude<Claim, { kind: 'claimed' }>> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.inTransaction(async (tx) => {
          const claim = await this.takeKey(tx);
          return claim.kind === 'claimed' ? { ...claim, result: await work(tx, claim.requestId) } : claim;
        });
      } catch (error) {
        if (error instanceof KeyLocked) return { kind: 'in_progress' };
        if (!(error instanceof CommitUnknown) || attempt === DOUBT_ATTEMPTS) throw error;
        // A lost COMMIT is unknown, not failed. Claiming the key again with the same token resolves it: the insert
        // waits for a commit that is still on its way, and finds what it left.
        this.inDoubt = true;
      }
    }
  }

  private async takeKey(tx: Transaction): Promise<Claim> {
    const claim = await this.idempotency.store
      .claim(tx.sql, this.identity, this.lockToken, this.newRequestId)
      .catch((error: unknown) => {
        throw isLockTimeout(error) ? new KeyLocked() : error;
      });
    if (claim.kind !== 'claimed') return claim;
    if (this.requestId && claim.requestId !== this.requestId) {
      throw new Error('The key expired while its request was being processed, and stands for a new one');
    }
    if (this.leader) this.idempotency.inFlight.hold(this.leader);
    return claim;
  }

  private run<Input, Result>(phase: Phase<Input, Result>, tx: Transaction, requestId: string, input: Input) {
    return runPhase(phase, tx.manager, { accountId: this.identity.accountId, requestId, input });
  }

  private inTransaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return inTransaction(this.idempotency.dataSource, work);
  }

  /** Without the database nothing is known of the key, so nothing is run, and the answer says what may have happened. */
  private async failClosed<T>(unit: () => Promise<T>): Promise<T> {
    try {
      return await unit();
    } catch (error) {
      if (!(error instanceof CommitUnknown || isDatabaseUnavailable(error))) throw error;
      throw databaseUnavailable(this.requestId || this.inDoubt ? 'unknown' : 'not_started', error);
    }
  }
}

type ClaimedWith<Result> = { kind: 'claimed'; requestId: string; result: Result };

const isUnavailable = (error: unknown) => error instanceof IdempotencyError && error.code === 'database_unavailable';
