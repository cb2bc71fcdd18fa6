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
