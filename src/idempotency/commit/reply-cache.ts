import { Inject, Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import type { RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';

/** A recorded reply, and the request that it answers. */
interface CachedReply {
  readonly request: RequestIdentity;
  readonly reply: RecordedReply;
}

/** Bytes of an entry without its texts: objects, the fingerprint and the place in the cache. A generous estimate. */
const ENTRY_BYTES = 512;
/** Upper bound: V8 stores a character in two bytes, or in one byte if the whole string is Latin-1. */
const CHARACTER_BYTES = 2;

/**
 * Recorded replies in memory, so that a replay need not read the database.
 *
 * A cached reply is never outdated, because a recorded reply never changes and leaves the cache before it expires in the database. The
 * database reports the time that is left, and the cache measures that time on a monotonic clock.
 *
 * The cache never decides that a key is new. Only a claim in the database does.
 */
@Injectable()
export class ReplyCache {
  private readonly replies: LRUCache<string, CachedReply> | undefined;

  constructor(@Inject(IDEMPOTENCY_OPTIONS) { cacheBytes }: IdempotencyOptions) {
    // LRUCache takes whole bytes only, and the setting is in MiB with fractions.
    const maxSize = Math.floor(cacheBytes);
    if (maxSize === 0) return;
    const clock = { now: () => performance.now() };
    this.replies = new LRUCache({ maxSize, sizeCalculation: sizeOf, ttl: 1, perf: clock });
  }

  /** The recorded reply of the same request; `reused` if the key belongs to another request; `undefined` if the key is not cached. */
  find(request: RequestIdentity): RecordedReply | 'reused' | undefined {
    const cached = this.replies?.get(request.name);
    return cached && (cached.request.isSame(request) ? cached.reply : 'reused');
  }

  /** @param expiresAt when the reply expires, in milliseconds of `performance.now()`; not later than in the database */
  keep(request: RequestIdentity, reply: RecordedReply, expiresAt: number): void {
    const ttl = Math.floor(expiresAt - performance.now());
    if (ttl > 0) this.replies?.set(request.name, { request, reply }, { ttl });
  }
}

function sizeOf({ request, reply: { headers, body } }: CachedReply): number {
  const characters =
    2 * request.name.length + (request.canonical?.length ?? 0) + body.length + JSON.stringify(headers).length;
  return ENTRY_BYTES + CHARACTER_BYTES * characters;
}
