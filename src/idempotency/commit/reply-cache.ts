import { Inject, Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import type { RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';

/** A recorded reply, and what request it answers. */
interface CachedReply {
  readonly request: RequestIdentity;
  readonly reply: RecordedReply;
}

/** What an entry takes beside its texts: objects, the fingerprint, its place in the cache. A generous guess. */
const ENTRY_BYTES = 512;
/** At most, by V8: a text of Latin letters takes half of it. */
const CHARACTER_BYTES = 2;

/**
 * Replies that this process has recorded or read, so that a replay need not ask the database. They never change, and
 * are kept no longer than they live there: the time that is left is the database's word, counted on a clock that only
 * goes forward.
 *
 * It knows nothing of a key that it does not hold: whether that is new, the database decides.
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

  /** The recorded reply of the same request; `reused` when the key stands for another; `undefined` for nothing known. */
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
