import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { FairShare } from './fair-share.js';
import { idempotencyKeyInProgress, overloaded } from '../http/idempotency.errors.js';
import type { RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';

/**
 * Memory that the requests in flight in one process may take, by estimate: half of what a small container gives to the heap. One account
 * alone gets half of it, which is 2,048 small requests, about a second of work, or 500 whose bodies have 25,000 characters.
 */
const MAX_BYTES = 128 * 2 ** 20;
/** Memory of a request without its body. Measured: 22 KiB while it waits for another request, 50 KiB while it waits for a bank. */
const REQUEST_BYTES = 32 * 1_024;
/** A body is held as parsed and in canonical form, with two bytes for a character unless the text is Latin. Measured: 4. */
const CHARACTER_BYTES = 4;

/** The request that its duplicates in this process wait for. They share its reply, or its error. */
export class Leader {
  readonly reply: Promise<RecordedReply>;
  resolve!: (reply: RecordedReply) => void;
  reject!: (error: unknown) => void;

  constructor(
    readonly request: RequestIdentity,
    private readonly leadsUntil: number,
    /** Gives its memory back, once. */
    readonly leave: () => void,
  ) {
    this.reply = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Nobody need be waiting when it fails.
    this.reply.catch(() => undefined);
  }

  /** One that hangs past its lease is no longer waited for: the key may be taken over, here as elsewhere. */
  get hangs(): boolean {
    return performance.now() > this.leadsUntil;
  }
}

/** The requests in flight with one key: usually one, more when different requests were sent with it. */
interface Rivals {
  leaders: Leader[];
  /** The one whose claim the database has granted; until then nobody knows whose the key is. */
  holder?: Leader;
}

/**
 * The requests in flight in this process. It spares the database their duplicates, and tells at once that a key is
 * taken by another request. It never decides that a key is new: that takes a claim.
 *
 * All that is in flight is bounded by the memory that it takes, whether it waits for a commit, for a call between two commits or for another
 * request. Accounts share that memory.
 */
@Injectable()
export class InFlight {
  private readonly byKey = new Map<string, Rivals>();
  private readonly memory = new FairShare(MAX_BYTES);

  /**
   * Takes the memory of a request, which has done nothing yet.
   *
   * @param characters of its body, in whatever form
   * @returns gives the memory back, once
   * @throws IdempotencyError 503 if its account has too much in flight
   */
  enter(accountId: string, characters: number): () => void {
    const bytes = REQUEST_BYTES + CHARACTER_BYTES * characters;
    if (!this.memory.allows(accountId, bytes)) throw overloaded();
    return this.memory.take(accountId, bytes);
  }

  /** The same request, if it is in flight here. */
  find(request: RequestIdentity): Leader | undefined {
    return this.byKey.get(request.name)?.leaders.find((leader) => leader.request.isSame(request) && !leader.hangs);
  }

  /** Whether another request is known to hold the key. */
  isTaken(request: RequestIdentity): boolean {
    const holder = this.byKey.get(request.name)?.holder;
    return holder !== undefined && !holder.hangs && !holder.request.isSame(request);
  }

  /**
   * Waits for the reply of `leader`, in the place of a duplicate. The duplicate keeps nothing of its body.
   *
   * @throws IdempotencyError 409 after `waitMs`, or at once if its account has too much in flight; and the error of the leader
   */
  async follow(leader: Leader, duplicate: RequestIdentity, waitMs: number): Promise<RecordedReply> {
    const { accountId } = duplicate;
    if (!this.memory.allows(accountId, REQUEST_BYTES)) throw idempotencyKeyInProgress();
    const leave = this.memory.take(accountId, REQUEST_BYTES);
    duplicate.letGo();
    const isOver = new AbortController();
    const tooLong = pause(waitMs, undefined, { signal: isOver.signal, ref: false });
    const reply = await Promise.race([leader.reply, tooLong]).finally(() => {
      isOver.abort();
      leave();
    });
    if (!reply) throw idempotencyKeyInProgress();
    return reply;
  }

  /**
   * Makes the caller the one that its duplicates wait for, in place of one that hangs.
   *
   * @throws IdempotencyError 503 if its account has too much in flight
   */
  lead(request: RequestIdentity, leaseSeconds: number): Leader {
    const leave = this.enter(request.accountId, request.canonical?.length ?? 0);
    const leader = new Leader(request, performance.now() + leaseSeconds * 1000, leave);
    const rivals = this.byKey.get(request.name);
    if (rivals) rivals.leaders = [...rivals.leaders.filter((other) => !other.request.isSame(request)), leader];
    else this.byKey.set(request.name, { leaders: [leader] });
    return leader;
  }

  /** Notes that the database has granted the key to `leader`, unless that has been replaced meanwhile. */
  hold(leader: Leader): void {
    const rivals = this.byKey.get(leader.request.name);
    if (rivals?.leaders.includes(leader)) rivals.holder = leader;
  }

  /** Forgets `leader`, who has an answer. */
  end(leader: Leader): void {
    leader.leave();
    const { name } = leader.request;
    const rivals = this.byKey.get(name);
    if (!rivals) return;
    rivals.leaders = rivals.leaders.filter((other) => other !== leader);
    if (rivals.holder === leader) rivals.holder = undefined;
    if (rivals.leaders.length === 0) this.byKey.delete(name);
  }
}
