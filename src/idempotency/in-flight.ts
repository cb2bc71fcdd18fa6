import { Injectable } from '@nestjs/common';
import type { RecordedReply } from './reply.js';
import type { RequestIdentity } from './request-identity.js';

/** The request that its duplicates in this process wait for. They share its reply, or its error. */
export class Leader {
  readonly reply: Promise<RecordedReply>;
  resolve!: (reply: RecordedReply) => void;
  reject!: (error: unknown) => void;

  constructor(
    readonly request: RequestIdentity,
    private readonly leadsUntil: number,
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
 * Holds one entry for each key in progress, so it is bounded by them.
 */
@Injectable()
export class InFlight {
  private readonly byKey = new Map<string, Rivals>();

  /** The same request, if it is in flight here. */
  find(request: RequestIdentity): Leader | undefined {
    return this.byKey.get(request.name)?.leaders.find((leader) => leader.request.isSame(request) && !leader.hangs);
  }

  /** Whether another request is known to hold the key. */
  isTaken(request: RequestIdentity): boolean {
    const holder = this.byKey.get(request.name)?.holder;
    return holder !== undefined && !holder.hangs && !holder.request.isSame(request);
  }

  /** Makes the caller the one that its duplicates wait for, in place of one that hangs. */
  lead(request: RequestIdentity, leaseSeconds: number): Leader {
    const leader = new Leader(request, performance.now() + leaseSeconds * 1000);
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
    const { name } = leader.request;
    const rivals = this.byKey.get(name);
    if (!rivals) return;
    rivals.leaders = rivals.leaders.filter((other) => other !== leader);
    if (rivals.holder === leader) rivals.holder = undefined;
    if (rivals.leaders.length === 0) this.byKey.delete(name);
  }
}
