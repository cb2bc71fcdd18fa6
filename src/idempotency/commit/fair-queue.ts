/** One thing that waits in a {@link FairQueue}. */
export interface Queued {
  readonly accountId: string;
  /** The name of its key, which holds the account. */
  readonly name: string;
  /** Whether it shares a transaction with nothing else. */
  readonly isAlone: boolean;
}

/**
 * A queue for each account. Accounts take turns, so what an account waits for depends on how many accounts wait, and not on how much
 * they have waiting.
 *
 * A group never contains a key twice, because the second request with a key must see what became of the first. If the next request of an
 * account has a key that is in the group already, or must run alone, the account gets nothing more in this group. The requests behind it
 * are not searched, so taking a group stays cheap.
 */
export class FairQueue<T extends Queued> {
  /** In the order of their turns. None is empty. */
  private readonly queues = new Map<string, T[]>();

  get isEmpty(): boolean {
    return this.queues.size === 0;
  }

  add(items: readonly T[]): void {
    for (const item of items) {
      const queue = this.queues.get(item.accountId);
      if (queue) queue.push(item);
      else this.queues.set(item.accountId, [item]);
    }
  }

  /** Takes all that an account has waiting. */
  remove(accountId: string): T[] {
    const queue = this.queues.get(accountId) ?? [];
    this.queues.delete(accountId);
    return queue;
  }

  /** Takes up to `limit`: one of each account in turn, round after round. */
  takeFromAll(limit: number): T[] {
    const group = new Map<string, T>();
    const over: [string, T[]][] = [];
    // An account that is put back is at the end of the map, and comes to its next turn in this very loop.
    for (const [accountId, queue] of this.queues) {
      if (group.size === limit) break;
      this.queues.delete(accountId);
      if (!takeNext(queue, group)) over.push([accountId, queue]);
      else if (queue.length > 0) this.queues.set(accountId, queue);
    }
    for (const [accountId, queue] of over) this.queues.set(accountId, queue);
    return [...group.values()];
  }

  /** Takes up to `limit` of one account: the next in turn that `may`. */
  takeFromOne(limit: number, may: (accountId: string) => boolean): T[] {
    const group = new Map<string, T>();
    for (const [accountId, queue] of this.queues) {
      if (!may(accountId)) continue;
      this.queues.delete(accountId);
      while (group.size < limit && takeNext(queue, group));
      if (queue.length > 0) this.queues.set(accountId, queue);
      break;
    }
    return [...group.values()];
  }
}

/** Moves the first of a queue into a group. Returns whether it could be moved. */
function takeNext<T extends Queued>(queue: T[], group: Map<string, T>): boolean {
  const [next] = queue;
  const [first] = group.values();
  if (!next || group.has(next.name) || (first && (first.isAlone || next.isAlone))) return false;
  queue.shift();
  group.set(next.name, next);
  return true;
}
