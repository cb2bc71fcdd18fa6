import { FairQueue } from './fair-queue.js';
import { FairShare } from './fair-share.js';

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
