import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable } from '@nestjs/common';
import { FairShare } from './fairness.js';
import { idempotencyKeyInProgress, overloaded } from '../http/idempotency.errors.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import type { RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';

/**
 * Maximum estimated memory of the requests in flight in one process: half of the heap in a small container. One account alone gets half of
 * this memory. That is 2,048 small requests, which are about a second of work, or 500 requests whose bodies have 25,000 characters.
 */
const MAX_BYTES = 128 * 2 ** 20;
/** Memory of a request without its body. Measured: 22 KiB while it waits for another request, 50 KiB while it waits for a bank. */
const REQUEST_BYTES = 32 * 1_024;
/** Memory of one character of a body, because V8 needs two bytes for a character if the text is not Latin-1. Measured: 4. */
const CHARACTER_BYTES = 4;

/** A request in flight, and the reply that its duplicates in this process wait for. */
export interface Flight {
  readonly request: RequestIdentity;
  readonly reply: Promise<RecordedReply>;
  /** The time until which duplicates wait, in milliseconds of `performance.now()`. After it, any attempt may take the key over. */
  readonly leaseEndsAt: number;
}

/**
 * The requests in flight in this process. Duplicates wait here for the first request instead of asking the database. This class never decides
 * that a key is new. Only a claim in the database does.
 *
 * The requests in flight have a memory limit, which the accounts share. A request counts while it waits for a commit, for a call between
 * two commits or for another request.
 */
@Injectable()
export class InFlight {
  /** One request for each key. A different request with the same key is not noted, and the database refuses it. */
  private readonly byKey = new Map<string, Flight>();
  private readonly memory = new FairShare(MAX_BYTES);

  constructor(@Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions) {}

  /** The same request, if it is in flight here and within its lease. */
  find(request: RequestIdentity): Flight | undefined {
    const flight = this.byKey.get(request.name);
    return flight && flight.request.isSame(request) && !isPastLease(flight) ? flight : undefined;
  }

  /**
   * Answers a request for which `find` returned nothing, by running it. Its duplicates get the same reply or the same error.
   *
   * There must be no `await` between `find` and `lead`, so that only one of two duplicates runs.
   *
   * @param run answers the request
   * @throws IdempotencyError 503 if the account has too much in flight; and every error of `run`
   */
  async lead(request: RequestIdentity, run: () => Promise<RecordedReply>): Promise<RecordedReply> {
    const giveBackMemory = this.enter(request.accountId, request.characters);
    const flight = { request, reply: run(), leaseEndsAt: performance.now() + this.options.leaseSeconds * 1_000 };
    const { name } = request;
    const other = this.byKey.get(name);
    if (!other || isPastLease(other)) this.byKey.set(name, flight);
    try {
      return await flight.reply;
    } finally {
      giveBackMemory();
      if (this.byKey.get(name) === flight) this.byKey.delete(name);
    }
  }

  /**
   * Waits for the reply of the same request on behalf of a duplicate.
   *
   * @throws IdempotencyError 409 after `waitMs`, or at once if the account has too much in flight; and the error of the same request
   */
  async follow({ reply }: Flight, accountId: string): Promise<RecordedReply> {
    if (!this.memory.allows(accountId, REQUEST_BYTES)) throw idempotencyKeyInProgress();
    const giveBackMemory = this.memory.take(accountId, REQUEST_BYTES);
    const isOver = new AbortController();
    const tooLong = pause(this.options.waitMs, undefined, { signal: isOver.signal, ref: false });
    const first = await Promise.race([reply, tooLong]).finally(() => {
      isOver.abort();
      giveBackMemory();
    });
    if (!first) throw idempotencyKeyInProgress();
    return first;
  }

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
}

const isPastLease = ({ leaseEndsAt }: Flight) => performance.now() > leaseEndsAt;
