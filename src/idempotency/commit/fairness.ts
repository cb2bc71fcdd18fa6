/**
 * A limited amount that accounts share, such as connections or bytes of memory.
 *
 * An account may take more if its new total is not larger than the amount that was left before. So one account alone gets half of the
 * amount. If n accounts always want more, each account gets 1/(n + 1) of the amount, once the accounts that came first have given their
 * surplus back. A part of the amount is always left for an account that comes later.
 *
 * The rule comes from network switches, whose ports share one buffer: Choudhury and Hahne, "Dynamic queue length thresholds for
 * shared-memory packet switches", IEEE/ACM Transactions on Networking 6 (2), 1998.
 */
export class FairShare {
  /** The amount that each account holds. Accounts that hold nothing are removed. */
  private readonly held = new Map<string, number>();
  private left: number;

  constructor(total: number) {
    this.left = total;
  }

  /** Whether the account may take `amount` more. */
  allows(accountId: string, amount = 1): boolean {
    return (this.held.get(accountId) ?? 0) + amount <= this.left;
  }

  get isUsedUp(): boolean {
    return this.left <= 0;
  }

  /** The accounts that may take nothing more for now. An account that holds nothing is never among them. */
  get exhausted(): string[] {
    return [...this.held.keys()].filter((accountId) => !this.allows(accountId));
  }

  /**
   * Takes the amount, even if `allows` is false, because a request that has begun must be able to finish.
   *
   * @returns a function that gives the amount back; only its first call has an effect
   */
  take(accountId: string, amount = 1): () => void {
    this.held.set(accountId, (this.held.get(accountId) ?? 0) + amount);
    this.left -= amount;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      const rest = (this.held.get(accountId) ?? 0) - amount;
      if (rest > 0) this.held.set(accountId, rest);
      else this.held.delete(accountId);
      this.left += amount;
    };
  }
}

/** An item that waits in a {@link FairQueue}. */
export interface Queued {
  readonly accountId: string;
}

/**
 * A queue for each account. Accounts take turns, so the time that an account waits depends on the number of accounts that wait, and not on
 * the length of their queues.
 */
export class FairQueue<T extends Queued> {
  /** The queues in the order of their turns. Empty queues are removed. */
  private readonly queues = new Map<string, T[]>();

  add(items: readonly T[]): void {
    for (const item of items) {
      const queue = this.queues.get(item.accountId);
      if (queue) queue.push(item);
      else this.queues.set(item.accountId, [item]);
    }
  }

  /** Removes and returns all items of an account. */
  remove(accountId: string): T[] {
    const queue = this.queues.get(accountId) ?? [];
    this.queues.delete(accountId);
    return queue;
  }

  /** Removes and returns the first item of the next account for which `may` is true; `undefined` if there is no such account. */
  takeNext(may: (accountId: string) => boolean): T | undefined {
    for (const [accountId, queue] of this.queues) {
      if (!may(accountId)) continue;
      this.queues.delete(accountId);
      const next = queue.shift();
      if (queue.length > 0) this.queues.set(accountId, queue);
      return next;
    }
    return undefined;
  }

  /**
   * Removes and returns up to `limit` items: one of each account in turn, round after round.
   *
   * Only accounts for which `may` is true are served. No two items of a group have the same name. If the first item of an account has a
   * name that is in the group already, the account gets no more places in this group. The items behind it are not searched, so taking a
   * group stays cheap.
   */
  takeGroup(limit: number, nameOf: (item: T) => string, may: (accountId: string) => boolean): T[] {
    const group = new Map<string, T>();
    const skipped: [string, T[]][] = [];
    // A queue that is put back is at the end of the map, so this loop reaches it again for the next round.
    for (const [accountId, queue] of this.queues) {
      if (group.size === limit) break;
      if (!may(accountId)) continue;
      this.queues.delete(accountId);
      const [first] = queue;
      if (first && !group.has(nameOf(first))) {
        group.set(nameOf(first), first);
        queue.shift();
        if (queue.length > 0) this.queues.set(accountId, queue);
      } else skipped.push([accountId, queue]);
    }
    for (const [accountId, queue] of skipped) this.queues.set(accountId, queue);
    return [...group.values()];
  }
}

/** A request that waits for its turn. */
interface Waiting {
  readonly accountId: string;
  begin(): void;
}

/** A limited number of turns at once. Accounts share them, and the accounts that wait are served in turn. */
export class FairTurns {
  private readonly waiting = new FairQueue<Waiting>();
  private readonly running: FairShare;

  constructor(turns: number) {
    this.running = new FairShare(turns);
  }

  /**
   * Waits for a turn.
   *
   * @returns a function that ends the turn
   */
  begin(accountId: string): Promise<() => void> {
    return new Promise((resolve) => {
      const begin = () => {
        const giveBack = this.running.take(accountId);
        resolve(() => {
          giveBack();
          this.serve();
        });
      };
      this.waiting.add([{ accountId, begin }]);
      this.serve();
    });
  }

  private serve(): void {
    const next = () => this.waiting.takeNext((accountId) => this.running.allows(accountId));
    for (let waiting = next(); waiting; waiting = next()) waiting.begin();
  }
}
