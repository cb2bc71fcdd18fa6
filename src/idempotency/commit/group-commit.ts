import { Inject, Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { Subject } from 'rxjs';
import { DataSource } from 'typeorm';
import { isConnectionLost, isLockTimeout } from '../../postgres/database-errors.js';
import { FairQueue } from './fair-queue.js';
import { FairShare } from './fair-share.js';
import { commitTogether, type Outcome, type Unit } from './group.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { FencedOff, IdempotencyStore, KeyLocked } from '../store/idempotency.store.js';
import { CommitUnknown, isOutage } from '../../postgres/transaction.js';

/** A unit, and the request that waits for its outcome. */
interface Waiting {
  readonly unit: Unit;
  readonly accountId: string;
  readonly name: string;
  readonly isAlone: boolean;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: unknown) => void;
}

/** Groups under way at once: while one waits for its commit, the next is at work. More would only be smaller. */
const GROUPS = 2;
/** After this time a running group stops counting against `GROUPS`, so that the next group can start. */
const PATIENCE_MS = 50;
/** Groups under way at once, slow ones included. With `OWN_TRANSACTIONS`, eight of the ten connections that a pool has by default. */
const MAX_GROUPS = 4;
/** Transactions under way at once that are each of one account. They do not count as groups, so they hold no group up. */
const OWN_TRANSACTIONS = 4;
/** How long an account stays apart that has made a group fail. It can fail one group of others in this time. */
const APART_MS = 60_000;
/** Accounts that are remembered as apart. To forget one costs one failed group more. */
const MAX_APART = 1_000;

/**
 * Commits requests together. Those that arrive while a commit is under way share the next one, so that a commit and
 * its statements cost each of them a fraction; one that arrives alone is committed at once. Accounts take turns.
 *
 * A group that fails is taken apart, in two steps: each account gets a transaction of its own, and an account whose own
 * transaction fails again gets one for each of its units. So a bad unit harms only itself, and the work of
 * finding it is done in the transactions of its account. That account then stays out of the groups of others for a while.
 */
@Injectable()
export class GroupCommit {
  /** How many requests each commit held. */
  readonly sizes = new Subject<number>();
  /** Units that share groups with those of other accounts. */
  private readonly shared = new FairQueue<Waiting>();
  /** Units that share transactions only with those of their own account, if at all. */
  private readonly apart = new FairQueue<Waiting>();
  /** Accounts that were in a group that failed, and those of them that made it fail. */
  private readonly standing = new LRUCache<string, 'suspected' | 'found guilty'>({ max: MAX_APART, ttl: APART_MS });
  private readonly ownTransactions = new FairShare(OWN_TRANSACTIONS);
  private groupsRunning = 0;
  private groupsSlow = 0;

  constructor(
    private readonly dataSource: DataSource,
    private readonly store: IdempotencyStore,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {}

  /**
   * Commits a unit, in company or alone. The queues are bounded by {@link InFlight}, because a request has one unit at a time.
   *
   * @throws CommitUnknown, FencedOff, and what the phase throws
   */
  commit(unit: Unit): Promise<Outcome> {
    const { accountId, name } = unit.identity;
    const lane = unit.inDoubt || this.standing.has(accountId) ? this.apart : this.shared;
    return new Promise((resolve, reject) => {
      lane.add([{ unit, accountId, name, isAlone: unit.inDoubt, resolve, reject }]);
      this.startNext();
    });
  }

  private startNext(): void {
    const { maxGroupSize } = this.options;
    const mayStart = () => this.groupsRunning - this.groupsSlow < GROUPS && this.groupsRunning < MAX_GROUPS;
    while (!this.shared.isEmpty && mayStart()) void this.runGroup(inLockOrder(this.shared.takeFromAll(maxGroupSize)));
    const takeOwn = () => this.apart.takeFromOne(maxGroupSize, (accountId) => this.ownTransactions.allows(accountId));
    for (let own = takeOwn(); own.length > 0; own = takeOwn()) void this.runOwn(inLockOrder(own));
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

  private async runOwn(group: Waiting[]): Promise<void> {
    const accountId = group[0]?.accountId ?? '';
    const leave = this.ownTransactions.take(accountId);
    const isCommitted = await this.run(group);
    if (isCommitted && this.standing.get(accountId) === 'suspected') this.standing.delete(accountId);
    leave();
    this.startNext();
  }

  /** Returns whether the group was committed. */
  private async run(group: Waiting[]): Promise<boolean> {
    const units = group.map(({ unit }) => unit);
    try {
      const outcomes = await commitTogether(this.dataSource, this.store, units);
      this.sizes.next(group.length);
      group.forEach(({ resolve }, i) => resolve(outcomes[i] as Outcome));
      return true;
    } catch (error) {
      this.fail(group, error);
      return false;
    }
  }

  /** Answers the requests of a group that was not committed, or has the group run again in parts. */
  private fail(group: Waiting[], error: unknown): void {
    const isLost = error instanceof CommitUnknown || isConnectionLost(error);
    if (group.length === 1 && error instanceof KeyLocked) group[0]?.resolve({ kind: 'in_progress' });
    else if (group.length === 1 || isLost) group.forEach(({ reject }) => reject(error));
    else this.apart.add(group.map((waiting) => ({ ...waiting, isAlone: accountsOf(group).length === 1 })));
    if (isOfAccount(error)) this.suspect(group);
  }

  /** Keeps the accounts of a failed group out of the groups of others: all of them, until it is known which one it was. */
  private suspect(group: Waiting[]): void {
    const accounts = accountsOf(group);
    const isKnown = accounts.length === 1;
    for (const accountId of accounts) {
      const before = this.standing.get(accountId);
      // A unit that fails where it was alone to begin with has harmed no group.
      if (isKnown && group.length === 1 && !before) continue;
      this.standing.set(accountId, isKnown || before === 'found guilty' ? 'found guilty' : 'suspected');
      this.apart.add(this.shared.remove(accountId));
    }
  }
}

/**
 * Whether an error may come from what one account has sent, or has in the database. A lost race, a lost lock token and an outage say nothing
 * about an account. A lock that is held elsewhere does, because a row belongs to an account, and each request for the row waits until the
 * lock is gone.
 */
const isOfAccount = (error: unknown) =>
  isLockTimeout(error) || error instanceof KeyLocked || (!isOutage(error) && !(error instanceof FencedOff));

const accountsOf = (group: readonly Waiting[]) => [...new Set(group.map(({ accountId }) => accountId))];

/** Every group takes its locks in the same order, so that no two groups deadlock. */
const inLockOrder = (group: Waiting[]) => group.sort((a, b) => (a.name < b.name ? -1 : 1));
