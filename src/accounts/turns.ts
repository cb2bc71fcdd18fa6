import { setTimeout as pause } from 'node:timers/promises';
import { FairShare } from '../idempotency/index.js';

/** Requests that wait, all together. One account alone gets half of the places. */
const MAX_WAITING = 4_096;

/** There is no turn for a request: its account has too many waiting, or none came in time. */
export class NoTurn extends Error {}

/** Lets a limited number of requests run at once. Those that wait are let in by account, in turn. */
export class Turns {
  /** In the order of their turns. None is empty. */
  private readonly waiting = new Map<string, Set<() => void>>();
  private readonly places = new FairShare(MAX_WAITING);
  private running = 0;

  /** @param withinMs how long a request waits for its turn at most */
  constructor(
    private readonly limit: number,
    private readonly withinMs: number,
  ) {}

  /**
   * Waits for a turn of the account.
   *
   * @returns ends the turn; to be called once
   * @throws NoTurn
   */
  async wait(accountId: string): Promise<() => void> {
    if (this.running < this.limit) this.running++;
    else await this.queue(accountId);
    return () => this.passOn();
  }

  private async queue(accountId: string): Promise<void> {
    if (!this.places.allows(accountId)) throw new NoTurn('The account has too many requests waiting');
    const leave = this.places.take(accountId);
    const isOver = new AbortController();
    let start!: () => void;
    const started = new Promise<void>((resolve) => (start = resolve));
    const queue = this.waiting.get(accountId) ?? new Set();
    this.waiting.set(accountId, queue.add(start));
    const tooLong = pause(this.withinMs, undefined, { signal: isOver.signal, ref: false });
    await Promise.race([started, tooLong]);
    isOver.abort();
    leave();
    // What is not in the queue any more has its turn, even if its time was over at the same moment.
    if (!queue.delete(start)) return;
    if (queue.size === 0 && this.waiting.get(accountId) === queue) this.waiting.delete(accountId);
    throw new NoTurn('No turn came in time');
  }

  private passOn(): void {
    for (const [accountId, queue] of this.waiting) {
      this.waiting.delete(accountId);
      const [start] = queue;
      if (!start) continue;
      queue.delete(start);
      if (queue.size > 0) this.waiting.set(accountId, queue);
      return start();
    }
    this.running--;
  }
}
