import { LRUCache } from 'lru-cache';
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
export class ReplyCache {
  private readonly replies: LRUCache<string, CachedReply>;

  /** @param bytes maximum estimated memory of the replies, at least 1 */
  constructor(bytes: number) {
    const clock = { now: () => performance.now() };
    // LRUCache takes whole bytes only, and the setting is in MiB with fractions.
    this.replies = new LRUCache({ maxSize: Math.floor(bytes), sizeCalculation: sizeOf, ttl: 1, perf: clock });
  }

  /** The recorded reply of the same request, if it is cached. A different request with the same key is left to the database to refuse. */
  find(request: RequestIdentity): RecordedReply | undefined {
    const cached = this.replies.get(request.name);
    return cached?.request.isSame(request) ? cached.reply : undefined;
  }

  /** Keeps a reply until its key expires. A reply that is not recorded is not kept. */
  keep(request: RequestIdentity, reply: RecordedReply): void {
    const ttl = Math.floor((reply.expiry?.notBefore ?? 0) - performance.now());
    if (ttl > 0) this.replies.set(request.name, { request, reply }, { ttl });
  }
}

function sizeOf({ request, reply: { headers, body } }: CachedReply): number {
  const characters = 2 * request.name.length + body.length + JSON.stringify(headers).length;
  return ENTRY_BYTES + CHARACTER_BYTES * characters;
}
