import { Inject, Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { Subject } from 'rxjs';
import { DataSource } from 'typeorm';
import { isConnectionLost, isLockTimeout } from '../../postgres/database-errors.js';
import { inLockOrder } from '../../postgres/lock-order.js';
import { CommitUnknown, isOutage } from '../../postgres/transaction.js';
import { databaseUnavailable } from '../http/idempotency.errors.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { FencedOff, KeyLocked } from '../store/idempotency.store.js';
import { type CommitResult, Committer } from './committer.js';
import { FairQueue } from './fairness.js';
import { commitTogether, type GroupResult } from './group.js';
import { GroupStore } from './group.store.js';
import { OneByOne } from './one-by-one.js';
import { isClaiming, type Unit } from './unit.js';

/** A unit that waits for a group, and the functions that answer its request. */
interface Waiting {
  readonly unit: Unit;
  readonly accountId: string;
  readonly resolve: (result: GroupResult) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A group that runs for longer than this counts as slow, and the next group starts beside it. A group is slow if its commit waits for a standby,
 * if it waits for a lock, or if a phase takes long.
 */
const PATIENCE_MS = 10;
/**
 * Maximum number of groups at once, slow groups included. Together with the transactions of {@link OneByOne}, they use 8 of the 10 connections
 * that a pool has by default.
 */
const MAX_GROUPS = 4;
/** Milliseconds for which an account that has made a group fail is committed one by one. */
const APART_MS = 60_000;
/** Maximum number of accounts in `apart`. If an account leaves the list too early, it can only make one more group fail. */
const MAX_APART = 1_000;

/**
 * The fast committer: requests that arrive while a commit is under way share the next transaction, so each request pays only a fraction of
 * a commit and its statements. A request that arrives alone does not wait for others. Accounts take turns.
 *
 * One group runs at a time. Two groups at once would each have half as many requests, but each would need almost as much work as one large group,
 * because the work of a group hardly depends on its size.
 *
 * A group gets one attempt. If it fails, each of its requests is handed to {@link OneByOne}, so a bad request harms only itself. An account
 * whose request fails there as well has made the group fail. For {@link APART_MS} the account is committed one by one, so that it cannot make
 * another group fail.
 */
@Injectable()
export class GroupCommit extends Committer {
  readonly sizes = new Subject<number>();
  private readonly queue = new FairQueue<Waiting>();
  /**
   * Accounts that do not join groups. An account is `suspected` after its group has failed, until its requests have been tried one by one. If
   * one of them fails then as well, the account is `guilty`.
   */
  private readonly apart = new LRUCache<string, 'suspected' | 'guilty'>({ max: MAX_APART, ttl: APART_MS });
  private running = 0;
  private slow = 0;
  /** Starts a group at the end of this turn of the event loop, so that the requests of one turn share a group. */
  private starting?: NodeJS.Immediate;

  constructor(
    private readonly dataSource: DataSource,
    private readonly store: GroupStore,
    private readonly oneByOne: OneByOne,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {
    super();
    oneByOne.sizes.subscribe(this.sizes);
  }

  /** `InFlight` bounds the queue, because it bounds the requests in flight, and a request has one unit at a time. */
  async commit(unit: Unit): Promise<CommitResult> {
    // A unit in doubt may have to wait for the commit that is in doubt, and would make a whole group wait.
    const { accountId } = unit.identity;
    if (isInDoubt(unit) || this.apart.get(accountId) === 'guilty') return this.commitAlone(unit);
    const result = await new Promise<GroupResult>((resolve, reject) => {
      this.queue.add([{ unit, accountId, resolve, reject }]);
      this.starting ??= setImmediate(() => {
        this.starting = undefined;
        this.startGroup();
      });
    });
    if (result.kind !== 'large-reply') return result;
    return this.store.readReply(unit.identity, result).catch((error: unknown) => {
      // The request is known to be completed, so the answer must not say that nothing was started.
      throw isOutage(error) ? databaseUnavailable('unknown', error) : error;
    });
  }

  private startGroup(): void {
    if (this.running > this.slow || this.running === MAX_GROUPS) return;
    // The units of a suspected account stay in the queue until the account has been tried alone.
    const group = this.queue.takeGroup(this.options.maxGroupSize, nameOf, (accountId) => !this.apart.has(accountId));
    if (group.length > 0) void this.runGroup(inLockOrder(group, nameOf));
  }

  private async runGroup(group: Waiting[]): Promise<void> {
    let isSlow = false;
    const patience = setTimeout(() => {
      isSlow = true;
      this.slow++;
      this.startGroup();
    }, PATIENCE_MS);
    this.running++;
    await this.tryTogether(group);
    clearTimeout(patience);
    if (isSlow) this.slow--;
    this.running--;
    this.startGroup();
  }

  private async tryTogether(group: Waiting[]): Promise<void> {
    try {
      const results = await commitTogether(
        this.dataSource,
        this.store,
        group.map(({ unit }) => unit),
      );
      this.sizes.next(group.length);
      group.forEach(({ resolve }, i) => resolve(results[i] as GroupResult));
    } catch (error) {
      const isOver = group.length === 1 || error instanceof CommitUnknown || isConnectionLost(error);
      if (isOver) group.forEach(({ reject }) => reject(error));
      else this.takeApart(group, error);
    }
  }

  /** Commits the requests of a failed group one by one, and finds the accounts that made the group fail. */
  private takeApart(group: Waiting[], error: unknown): void {
    for (const accountId of new Set(group.map((waiting) => waiting.accountId))) {
      if (mayBeFaultOfAccount(error)) this.suspect(accountId);
      const members = group.filter((waiting) => waiting.accountId === accountId);
      void Promise.all(members.map((waiting) => this.settle(waiting))).then(() => {
        if (this.apart.get(accountId) === 'suspected') this.apart.delete(accountId);
        this.startGroup();
      });
    }
  }

  private suspect(accountId: string): void {
    if (!this.apart.has(accountId)) this.apart.set(accountId, 'suspected');
  }

  private settle({ unit, resolve, reject }: Waiting): Promise<void> {
    return this.commitAlone(unit).then(resolve, reject);
  }

  /**
   * Commits one unit without a group. If the unit fails, its account is guilty, so its units in the queue are committed without a group as
   * well. The account need not be suspected any more, because another trial of the account may have ended well since then. Only a unit in
   * doubt has harmed no group.
   */
  private async commitAlone(unit: Unit): Promise<CommitResult> {
    const { accountId } = unit.identity;
    try {
      return await this.oneByOne.commit(unit);
    } catch (error) {
      if (mayBeFaultOfAccount(error) && (!isInDoubt(unit) || this.apart.has(accountId))) {
        this.apart.set(accountId, 'guilty');
        for (const waiting of this.queue.remove(accountId)) void this.settle(waiting);
      }
      throw error;
    }
  }
}

const isInDoubt = (unit: Unit) => isClaiming(unit) && unit.isInDoubt;

const nameOf = ({ unit }: Waiting) => unit.identity.name;

/**
 * Whether an account may have caused the error, by a request or by its rows. A lost race, a lost lock token and an outage are not the fault
 * of an account. A row that is locked for too long is, because the row belongs to an account, and every request for the row waits as long.
 */
const mayBeFaultOfAccount = (error: unknown) =>
  isLockTimeout(error) || error instanceof KeyLocked || (!isOutage(error) && !(error instanceof FencedOff));
