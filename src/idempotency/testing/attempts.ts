import type { Idempotency } from '../idempotency.js';
import type { AnyPhase } from '../request/phase.js';
import type { RequestIdentity } from '../request/request-identity.js';
import type { Committer } from '../commit/committer.js';
import type { Unit } from '../commit/unit.js';

/** A commit of a request, and whether an attempt ends just before its COMMIT or just after it. */
export interface CrashPoint {
  readonly commit: Unit['kind'];
  readonly moment: 'before' | 'after';
}

/** Ends an attempt in place of the death of its process. */
class SimulatedCrash extends Error {
  override readonly name = 'SimulatedCrash';
}

/** The services whose methods are replaced. Two replacements at once could restore one another. */
const watched = new WeakSet<Idempotency>();

/**
 * The attempts at one request under test. Notes their commits, and can end an attempt at one of them.
 *
 * Replaces methods of the services that all requests share, for this request only, until {@link forget}.
 */
export class Attempts {
  /** The commits that attempts have made, in order. */
  readonly commits: Unit['kind'][] = [];
  /** The attempt that was ended; `undefined` if none was. */
  private ended: { identity: RequestIdentity; lockToken: string } | undefined;
  private crashPoint: CrashPoint | undefined;
  private readonly endLease: Idempotency['store']['release'];
  private readonly restore: () => void;

  /** @throws Error if attempts of this application are watched already */
  constructor(
    idempotency: Idempotency,
    private readonly key: string,
  ) {
    if (watched.has(idempotency)) throw new Error('expected one happensOnce() at a time for an application');
    watched.add(idempotency);
    const { committer, store, inFlight } = idempotency;
    const commit = committer.commit.bind(committer);
    const release = store.release.bind(store);
    const find = inFlight.find.bind(inFlight);
    this.endLease = release;
    committer.commit = (unit) => this.commit(unit, commit);
    // A process that has died does not end its lease.
    store.release = (identity, lockToken) =>
      lockToken === this.ended?.lockToken ? Promise.resolve() : release(identity, lockToken);
    // Duplicates meet in the database, as if each of them had reached another process.
    inFlight.find = (request) => (request.key === key ? undefined : find(request));
    this.restore = () => {
      Object.assign(committer, { commit });
      Object.assign(store, { release });
      Object.assign(inFlight, { find });
      watched.delete(idempotency);
    };
  }

  /** Ends the next attempt that reaches the commit. */
  crashAt(crashPoint: CrashPoint): void {
    this.crashPoint = crashPoint;
  }

  /** Whether an attempt has reached the commit at which it had to end. */
  get hasCrashed(): boolean {
    return this.ended !== undefined;
  }

  /** Ends the lease of the attempt that was ended, as if the time of the lease had passed. */
  async expireLease(): Promise<void> {
    if (this.ended) await this.endLease(this.ended.identity, this.ended.lockToken);
  }

  /** Gives the shared services their methods back. */
  forget(): void {
    this.restore();
  }

  private async commit(unit: Unit, commit: Committer['commit']): ReturnType<Committer['commit']> {
    if (unit.identity.key !== this.key || unit.kind === 'unkeyed') return commit(unit);
    const { identity, lockToken, kind } = unit;
    // A handler that goes on after the crash would do what a dead process cannot do.
    if (lockToken === this.ended?.lockToken) throw new SimulatedCrash('The process of this attempt has crashed');
    if (kind !== this.crashPoint?.commit) {
      const result = await commit(unit);
      if (result.kind === 'committed' || result.kind === 'recorded') this.commits.push(kind);
      return result;
    }
    const { moment } = this.crashPoint;
    this.crashPoint = undefined;
    this.ended = { identity, lockToken };
    await commit(moment === 'before' ? { ...unit, phase: failingAfter(unit.phase) } : unit);
    throw new SimulatedCrash(`The process of this attempt has crashed ${moment} the COMMIT of ${kind}`);
  }
}

/** Runs the phase and then rolls its transaction back. */
function failingAfter(phase: AnyPhase<never, unknown>): AnyPhase<never, unknown> {
  const crash = () => {
    throw new SimulatedCrash('The process of this attempt has crashed before COMMIT');
  };
  if (typeof phase === 'function') return (tx, items) => phase(tx, items).then(crash);
  const { name, text } = phase;
  return {
    name,
    text,
    parameters: (items) => phase.parameters(items),
    results: (items, rows) => rows.then(() => phase.results(items, rows)).then(crash),
  };
}
