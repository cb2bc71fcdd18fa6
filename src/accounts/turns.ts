import { setTimeout as pause } from 'node:timers/promises';
import { FairShare } from '../idempotency/index.js';

/** Maximum estimated memory of all waiting requests. One account gets at most half of it, which is 2,048 requests without a body. */
const MAX_BYTES = 128 * 2 ** 20;
/** Memory of a request without its body. Measured for requests that wait for a commit: 22 to 50 KiB. */
const REQUEST_BYTES = 32 * 1_024;
/** Estimated memory of a parsed body, as a multiple of the bytes that the client sent. */
const PARSED = 4;

/** A request did not get a turn, because its account has too many waiting requests or because its time is over. */
export class NoTurn extends Error {
  constructor(readonly reason: 'too much waits' | 'too late') {
    super(reason);
  }
}

/** Lets a limited number of requests run at the same time. Waiting requests start in turn, one account after another. */
export class Turns {
  /** The waiting requests by account, in the order of the turns. No set is empty. */
  private readonly waiting = new Map<string, Set<() => void>>();
  private readonly memory = new FairShare(MAX_BYTES);
  private running = 0;

  /** @param withinMs the maximum time that a request waits for its turn */
  constructor(
    private readonly limit: number,
    private readonly withinMs: number,
  ) {}

  /**
   * Waits for a turn of the account.
   *
   * @param bodyBytes the size of the body that the client sent
   * @returns a function that ends the turn. Call it once.
   * @throws NoTurn if the account has too many waiting requests, or after `withinMs`
   */
  async wait(accountId: string, bodyBytes: number): Promise<() => void> {
    if (this.running < this.limit) this.running++;
    else await this.queue(accountId, REQUEST_BYTES + PARSED * bodyBytes);
    return () => this.passOn();
  }

  private async queue(accountId: string, bytes: number): Promise<void> {
    if (!this.memory.allows(accountId, bytes)) throw new NoTurn('too much waits');
    const leave = this.memory.take(accountId, bytes);
    const isOver = new AbortController();
    let start!: () => void;
    const started = new Promise<void>((resolve) => (start = resolve));
    const queue = this.waiting.get(accountId) ?? new Set();
    this.waiting.set(accountId, queue.add(start));
    const tooLong = pause(this.withinMs, undefined, { signal: isOver.signal, ref: false });
    await Promise.race([started, tooLong]);
    isOver.abort();
    leave();
    // A request that has left the queue has its turn, even if its time was over at the same moment.
    if (!queue.delete(start)) return;
    if (queue.size === 0 && this.waiting.get(accountId) === queue) this.waiting.delete(accountId);
    throw new NoTurn('too late');
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
