import { Injectable } from '@nestjs/common';
import type { RequestIdentity } from './idempotency.store.js';
import type { RecordedReply } from './reply.js';

/** The request that this process is working on for a key. Its duplicates here share its reply, or its error. */
export class Leader {
  readonly reply: Promise<RecordedReply>;
  resolve!: (reply: RecordedReply) => void;
  reject!: (error: unknown) => void;

  constructor(
    readonly fingerprint: Buffer,
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
 * The keys in flight in this process. It spares the database the duplicates of one process; it decides nothing:
 * the first of them still has to claim the key.
 *
 * Holds one entry for each request in progress, so it is bounded by them.
 */
@Injectable()
export class InFlight {
  private readonly leaders = new Map<string, Leader>();

  /** The request to wait for, if there is one. */
  find(request: RequestIdentity): Leader | undefined {
    const leader = this.leaders.get(nameOf(request));
    return leader?.hangs ? undefined : leader;
  }

  /** Makes the caller the one that the others wait for. */
  lead(request: RequestIdentity, leaseSeconds: number): Leader {
    const leader = new Leader(request.fingerprint, performance.now() + leaseSeconds * 1000);
    this.leaders.set(nameOf(request), leader);
    return leader;
  }

  /** Ends the wait of all who wait for `leader`. */
  end(request: RequestIdentity, leader: Leader): void {
    const name = nameOf(request);
    if (this.leaders.get(name) === leader) this.leaders.delete(name);
  }
}

// As JSON, since any separator could be part of an account or a key.
const nameOf = ({ accountId, key }: RequestIdentity) => JSON.stringify([accountId, key]);
