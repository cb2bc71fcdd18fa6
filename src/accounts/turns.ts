/** Lets a limited number of requests run at once. Those that wait are let in by account, in turn. */
export class Turns {
  /** In the order of their turns. None is empty. */
  private readonly waiting = new Map<string, (() => void)[]>();
  private running = 0;

  constructor(private readonly limit: number) {}

  /**
   * Waits for a turn of the account.
   *
   * @returns ends the turn; to be called once
   */
  async wait(accountId: string): Promise<() => void> {
    if (this.running < this.limit) this.running++;
    else await new Promise<void>((resolve) => this.enqueue(accountId, resolve));
    return () => this.passOn();
  }

  private enqueue(accountId: string, start: () => void): void {
    const queue = this.waiting.get(accountId);
    if (queue) queue.push(start);
    else this.waiting.set(accountId, [start]);
  }

  private passOn(): void {
    for (const [accountId, queue] of this.waiting) {
      this.waiting.delete(accountId);
      const start = queue.shift();
      if (queue.length > 0) this.waiting.set(accountId, queue);
      return start?.();
    }
    this.running--;
  }
}
