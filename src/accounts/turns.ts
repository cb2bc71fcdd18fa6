import { setTimeout as pause } from 'node:timers/promises';
import { FairShare } from '../idempotency/index.js';

/** Memory of all requests that wait, by estimate. One account alone gets half of it, which is 2,048 requests without a body. */
const MAX_BYTES = 128 * 2 ** 20;
/** Memory of a request without its body. Measured for requests that wait for a commit: 22 to 50 KiB. */
const REQUEST_BYTES = 32 * 1_024;
/** A parsed body takes several times the bytes that were sent. */
const PARSED = 4;

/** Why there is no turn for a request: its account has too much waiting, or the time is over. */
export class NoTurn extends Error {
  constructor(readonly reason: 'too much waits' | 'too late') {
    super(reason);
  }
}

/** Lets a limited number of requests run at once. Those that wait are let in by account, in turn. */
export class Turns {
  /** In the order of their turns. None is empty. */
  private readonly waiting = new Map<string, Set<() => void>>();
  private readonly memory = new FairShare(MAX_BYTES);
  private running = 0;

  /** @param withinMs how long a request waits for its turn at most */
  constructor(
    private readonly limit: number,
    private readonly withinMs: number,
  ) {}

  /**
   * Waits for a turn of the account.
   *
   * @param bodyBytes of the request, as it was sent
   * @returns ends the turn; to be called once
   * @throws NoTurn
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
    // What is not in the queue any more has its turn, even if its time was over at the same moment.
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
