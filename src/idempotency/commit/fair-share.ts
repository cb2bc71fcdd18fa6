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
