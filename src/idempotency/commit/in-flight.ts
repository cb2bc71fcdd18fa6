import { setTimeout as pause } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { FairShare } from './fair-share.js';
import { idempotencyKeyInProgress, overloaded } from '../http/idempotency.errors.js';
import type { RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';

/**
 * Maximum estimated memory of the requests in flight in one process: half of the heap in a small container. One account alone gets half of
 * this memory. That is 2,048 small requests, which are about a second of work, or 500 requests whose bodies have 25,000 characters.
 */
const MAX_BYTES = 128 * 2 ** 20;
/** Memory of a request without its body. Measured: 22 KiB while it waits for another request, 50 KiB while it waits for a bank. */
const REQUEST_BYTES = 32 * 1_024;
/**
 * Memory of one character of a body. The body is held in parsed and in canonical form, and V8 needs two bytes for a character if the text is
 * not Latin-1. Measured: 4.
 */
const CHARACTER_BYTES = 4;

/** The request that its duplicates in this process wait for. They get the reply or the error of the leader. */
export class Leader {
  readonly reply: Promise<RecordedReply>;
  resolve!: (reply: RecordedReply) => void;
  reject!: (error: unknown) => void;

  constructor(
    readonly request: RequestIdentity,
    private readonly leaseEndsAt: number,
    readonly giveBackMemory: () => void,
  ) {
    this.reply = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Prevents an unhandled rejection if the leader fails and no duplicate waits for it.
    this.reply.catch(() => undefined);
  }

  /** Whether the lease is over. Then duplicates no longer wait for this leader, because any attempt may take the key over. */
  get isPastLease(): boolean {
    return performance.now() > this.leaseEndsAt;
  }
}

/** The leaders with one key: usually one, or several if clients have sent different requests with the same key. */
interface KeyInFlight {
  leaders: Leader[];
  /** The leader whose claim the database has granted. Until then it is unknown which of the requests gets the key. */
  holder?: Leader;
}

/**
 * The requests in flight in this process. Duplicates wait here instead of asking the database, and a request whose key is taken by another
 * request is refused at once. This class never decides that a key is new. Only a claim in the database does.
 *
 * The requests in flight have a memory limit, which the accounts share. A request counts while it waits for a commit, for a call between
 * two commits or for another request.
 */
@Injectable()
export class InFlight {
  private readonly byKey = new Map<string, KeyInFlight>();
  private readonly memory = new FairShare(MAX_BYTES);

  /**
   * Takes the memory of a request that has not started anything yet.
   *
   * @param characters length of the body as JSON
   * @returns a function that gives the memory back; only its first call has an effect
   * @throws IdempotencyError 503 if the account has too much in flight
   */
  enter(accountId: string, characters: number): () => void {
    const bytes = REQUEST_BYTES + CHARACTER_BYTES * characters;
    if (!this.memory.allows(accountId, bytes)) throw overloaded();
    return this.memory.take(accountId, bytes);
  }

  /** The leader with the same key and the same content, if it is in flight here and within its lease. */
  find(request: RequestIdentity): Leader | undefined {
    return this.byKey
      .get(request.name)
      ?.leaders.find((leader) => leader.request.isSame(request) && !leader.isPastLease);
  }

  /** Whether another request is known to hold the key. */
  isTaken(request: RequestIdentity): boolean {
    const holder = this.byKey.get(request.name)?.holder;
    return holder !== undefined && !holder.isPastLease && !holder.request.isSame(request);
  }

  /**
   * Waits for the reply of `leader` on behalf of a duplicate. During the wait the duplicate does not keep its body in memory.
   *
   * @throws IdempotencyError 409 after `waitMs`, or at once if the account has too much in flight; and the error of the leader
   */
  async follow(leader: Leader, duplicate: RequestIdentity, waitMs: number): Promise<RecordedReply> {
    const { accountId } = duplicate;
    if (!this.memory.allows(accountId, REQUEST_BYTES)) throw idempotencyKeyInProgress();
    const giveBackMemory = this.memory.take(accountId, REQUEST_BYTES);
    duplicate.dropCanonical();
    const isOver = new AbortController();
    const tooLong = pause(waitMs, undefined, { signal: isOver.signal, ref: false });
    const reply = await Promise.race([leader.reply, tooLong]).finally(() => {
      isOver.abort();
      giveBackMemory();
    });
    if (!reply) throw idempotencyKeyInProgress();
    return reply;
  }

  /**
   * Makes the request the leader of its duplicates. It replaces a leader of the same request that is past its lease.
   *
   * @throws IdempotencyError 503 if the account has too much in flight
   */
  lead(request: RequestIdentity, leaseSeconds: number): Leader {
    const giveBackMemory = this.enter(request.accountId, request.canonical?.length ?? 0);
    const leader = new Leader(request, performance.now() + leaseSeconds * 1000, giveBackMemory);
    const sameKey = this.byKey.get(request.name);
    if (sameKey) sameKey.leaders = [...sameKey.leaders.filter((other) => !other.request.isSame(request)), leader];
    else this.byKey.set(request.name, { leaders: [leader] });
    return leader;
  }

  /** Notes that the database has granted the key to `leader`. A leader that has been replaced is ignored. */
  hold(leader: Leader): void {
    const sameKey = this.byKey.get(leader.request.name);
    if (sameKey?.leaders.includes(leader)) sameKey.holder = leader;
  }

  /** Removes `leader`, because its request has been answered. */
  end(leader: Leader): void {
    leader.giveBackMemory();
    const { name } = leader.request;
    const sameKey = this.byKey.get(name);
    if (!sameKey) return;
    sameKey.leaders = sameKey.leaders.filter((other) => other !== leader);
    if (sameKey.holder === leader) sameKey.holder = undefined;
    if (sameKey.leaders.length === 0) this.byKey.delete(name);
  }
}
