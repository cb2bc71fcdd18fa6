import { Injectable } from '@nestjs/common';
import type { RequestIdentity } from './idempotency.store.js';
import type { RecordedReply } from './reply.js';

/** The request that its duplicates in this process wait for. They share its reply, or its error. */
export class Leader {
  readonly reply: Promise<RecordedReply>;
  resolve!: (reply: RecordedReply) => void;
  reject!: (error: unknown) => void;

  constructor(
    readonly name: string,
    readonly key: string,
    private readonly leadsUntil: number,
  ) {
    this.reply = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    // Nobody need be waiting when it fails.
    this.reply.catch(() => undefined);
  }

  /** One that hangs past its lease is no longer waited for: the key may be taken over, here as elsewhere. */
  get hangs(): boolean {
    return performance.now() > this.leadsUntil;
  }
}

/**
 * The requests in flight in this process. It spares the database their duplicates, and tells at once that a key is
 * taken by another request. It never decides that a key is new: that takes a claim.
 *
 * Holds two entries for each request in progress, so it is bounded by them.
 */
@Injectable()
export class InFlight {
  private readonly leaders = new Map<string, Leader>();
  /** Those whose claim the database has granted; until then nobody knows whose the key is. */
  private readonly holders = new Map<string, Leader>();

  /** The same request, if it is in flight here. */
  find(request: RequestIdentity): Leader | undefined {
    const leader = this.leaders.get(nameOf(request));
    return leader?.hangs ? undefined : leader;
  }

  /** Whether another request is known to hold the key. */
  isTaken(request: RequestIdentity): boolean {
    const holder = this.holders.get(keyOf(request));
    return holder !== undefined && !holder.hangs && holder.name !== nameOf(request);
  }

  /** Makes the caller the one that its duplicates wait for. */
  lead(request: RequestIdentity, leaseSeconds: number): Leader {
    const leader = new Leader(nameOf(request), keyOf(request), performance.now() + leaseSeconds * 1000);
    this.leaders.set(leader.name, leader);
    return leader;
  }

  /** Notes that the database has granted the key to `leader`, unless that has been forgotten meanwhile. */
  hold(leader: Leader): void {
    if (this.leaders.get(leader.name) === leader) this.holders.set(leader.key, leader);
  }

  /** Forgets `leader`, who has an answer. */
  end(leader: Leader): void {
    if (this.leaders.get(leader.name) === leader) this.leaders.delete(leader.name);
    if (this.holders.get(leader.key) === leader) this.holders.delete(leader.key);
  }
}

// As JSON, since any separator could be part of an account or a key.
const keyOf = ({ accountId, key }: RequestIdentity) => JSON.stringify([accountId, key]);
const nameOf = (request: RequestIdentity) => keyOf(request) + request.fingerprint.toString('base64');
