import { Inject, Injectable } from '@nestjs/common';
import { Subject } from 'rxjs';
import { DataSource } from 'typeorm';
import { isConnectionLost } from './database-errors.js';
import { commitTogether, type Outcome, type Unit } from './group.js';
import { overloaded } from './idempotency.errors.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency.options.js';
import { IdempotencyStore, KeyLocked } from './idempotency.store.js';
import { CommitUnknown } from './transaction.js';

/** A unit, and whoever waits for its outcome. */
interface Waiting {
  readonly unit: Unit;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

/** Groups under way at once: while one waits for its commit, the next is at work. More would only be smaller. */
const GROUPS = 2;
/** Past this, a slow group is no longer counted, so that it holds up nobody else for longer. */
const PATIENCE_MS = 50;
/** Groups under way at once, slow ones included: some of the pool is left to everything else. */
const MAX_GROUPS = 4;
/** Units that each have a transaction of their own, under way at once. */
const MAX_SINGLES = 4;
/** Requests that wait for a group. More are refused: a second of work at most, and a few MiB. */
const MAX_WAITING = 2_048;

/**
 * Commits requests together. Those that arrive while a commit is under way share the next one, so that a commit and
 * its statements cost each of them a fraction; one that arrives alone is committed at once.
 *
 * What goes wrong in a group is found out by running each of its units alone, so that a bad one harms only itself.
 */
@Injectable()
export class GroupCommit {
  /** How many requests each commit held. */
  readonly sizes = new Subject<number>();
  private queue: Waiting[] = [];
  private readonly singles: Waiting[] = [];
  private groupsRunning = 0;
  private groupsSlow = 0;
  private singlesRunning = 0;

  constructor(
    private readonly dataSource: DataSource,
    private readonly store: IdempotencyStore,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {}

  /**
   * Commits a unit, in company or alone.
   *
   * @throws IdempotencyError 503 when too many wait; CommitUnknown, FencedOff, and what the phase throws
   */
  commit(unit: Unit): Promise<Outcome> {
    // Only what is new is refused: what has begun ends sooner when it is let through.
    if (this.queue.length >= MAX_WAITING && !unit.requestId && !unit.inDoubt) return Promise.reject(overloaded());
    return new Promise((resolve, reject) => {
      (unit.inDoubt ? this.singles : this.queue).push({ unit, resolve, reject });
      this.startNext();
    });
  }

  private startNext(): void {
    while (this.singles.length > 0 && this.singlesRunning < MAX_SINGLES) void this.runSingle(this.singles.splice(0, 1));
    while (this.queue.length > 0 && this.groupsRunning - this.groupsSlow < GROUPS && this.groupsRunning < MAX_GROUPS) {
      void this.runGroup(this.takeGroup());
    }
  }

  /** The longest waiting units, no key twice: a second request with a key has to see what became of the first. */
  private takeGroup(): Waiting[] {
    const group = new Map<string, Waiting>();
    const rest: Waiting[] = [];
    for (const waiting of this.queue) {
      const { name } = waiting.unit.identity;
      if (group.size < this.options.maxGroupSize && !group.has(name)) group.set(name, waiting);
      else rest.push(waiting);
    }
    this.queue = rest;
    // Every group takes its locks in the same order, so that two cannot wait for each other.
    return [...group].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, waiting]) => waiting);
  }

  private async runGroup(group: Waiting[]): Promise<void> {
    let slow = false;
    const patience = setTimeout(() => {
      slow = true;
      this.groupsSlow++;
      this.startNext();
    }, PATIENCE_MS);
    this.groupsRunning++;
    await this.run(group);
    clearTimeout(patience);
    if (slow) this.groupsSlow--;
    this.groupsRunning--;
    this.startNext();
  }

  private async runSingle(single: Waiting[]): Promise<void> {
    this.singlesRunning++;
    await this.run(single);
    this.singlesRunning--;
    this.startNext();
  }

  private async run(group: Waiting[]): Promise<void> {
    const alone = group.length === 1;
    try {
      const outcomes = await commitTogether(
        this.dataSource,
        this.store,
        group.map(({ unit }) => unit),
      );
      this.sizes.next(group.length);
      group.forEach(({ resolve }, i) => resolve(outcomes[i] as Outcome));
    } catch (error) {
      if (alone && error instanceof KeyLocked) group[0]?.resolve({ kind: 'in_progress' });
      else if (alone || error instanceof CommitUnknown || isConnectionLost(error)) {
        group.forEach(({ reject }) => reject(error));
      } else this.singles.push(...group);
    }
  }
}
