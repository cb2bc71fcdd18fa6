/**
 * A limited amount that accounts share: places in a queue, connections, bytes. An account may take more as long as it then
 * holds no more than was left before. So one account alone gets half. If n accounts ask all the time, each gets an (n + 1)th once those
 * that came first have given back what they have above it. Something is always left for an account that comes later.
 *
 * The rule is known from switches that share one buffer between their ports: Choudhury and Hahne, "Dynamic queue length
 * thresholds for shared-memory packet switches", IEEE/ACM Transactions on Networking 6 (2), 1998.
 */
export class FairShare {
  /** Amounts by account; accounts that hold nothing are not in it. */
  private readonly held = new Map<string, number>();
  private left: number;

  constructor(total: number) {
    this.left = total;
  }

  /** Whether the account may take that much more. */
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
   * Takes the amount, also where it is not allowed: a request that has begun has to be able to end.
   *
   * @returns gives it back, once
   */
  take(accountId: string, amount = 1): () => void {
    this.add(accountId, amount);
    let isHeld = true;
    return () => {
      if (isHeld) this.add(accountId, -amount);
      isHeld = false;
    };
  }

  private add(accountId: string, amount: number): void {
    const held = (this.held.get(accountId) ?? 0) + amount;
    if (held > 0) this.held.set(accountId, held);
    else this.held.delete(accountId);
    this.left -= amount;
  }
}
