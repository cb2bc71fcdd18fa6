import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Consumer, Receiver } from '../bus.js';
import type { Message } from '../message.js';
import { deliver } from './deliver.js';

/** Messages of one transaction at most: enough to share its commit, few enough to hold its locks for a moment only. */
const BATCH_MESSAGES = 500;

interface Entry<Receipt> {
  message: Message;
  receipt: Receipt;
}

/**
 * Takes what a broker has for one consumer to its receiver, and tells when the broker may forget it. What has arrived while a
 * batch was under way is the next batch, so that one transaction serves many. What fails waits here, not at the broker: it
 * blocks nobody, cannot be lost on its way back, and the broker delivers it to another if this process dies.
 */
export class DeliveryLoop<Receipt> {
  private readonly pauses = new Set<NodeJS.Timeout>();
  private waiting: Entry<Receipt>[] = [];
  private running: Promise<void> | undefined;
  private stopped = false;
  private held = 0;

  /**
   * @param retryMs milliseconds before a delivery that failed is tried again
   * @param settle tells the broker what is done. What it throws is for `onLost`: the broker delivers these again.
   * @param onLost the broker cannot be told any more
   */
  constructor(
    private readonly consumer: Consumer,
    private readonly receiver: Receiver,
    private readonly retryMs: number,
    private readonly settle: (receipts: readonly Receipt[]) => Promise<void> | void,
    private readonly onLost: (error: unknown) => void,
  ) {}

  /** Messages that the broker still has to keep. */
  get size(): number {
    return this.held;
  }

  add(message: Message, receipt: Receipt): void {
    if (this.stopped) return;
    this.held++;
    this.waiting.push({ message, receipt });
    this.run();
  }

  /** Begins no other batch, and waits for the one under way and for the broker to be told of it. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.pauses.forEach((pause) => clearTimeout(pause));
    await this.running;
  }

  private run(): void {
    this.running ??= this.deliverAll().finally(() => {
      this.running = undefined;
      if (this.waiting.length > 0 && !this.stopped) this.run();
    });
  }

  private async deliverAll(): Promise<void> {
    // Whatever the broker has sent together is there in the next turn of the event loop.
    await nextTurn();
    while (this.waiting.length > 0 && !this.stopped) {
      const batch = this.waiting.splice(0, BATCH_MESSAGES);
      const deliveries = await deliver(
        this.receiver,
        this.consumer,
        batch.map(({ message }) => message),
      );
      const failed = batch.filter((_, i) => deliveries[i] === 'failed');
      // Dead is done as well: the inbox keeps the letter.
      const done = batch.filter((_, i) => deliveries[i] !== 'failed').map(({ receipt }) => receipt);
      if (failed.length > 0) this.retryLater(failed);
      await this.tell(done);
    }
  }

  private async tell(receipts: readonly Receipt[]): Promise<void> {
    if (receipts.length === 0) return;
    this.held -= receipts.length;
    try {
      await this.settle(receipts);
    } catch (error) {
      this.onLost(error);
    }
  }

  private retryLater(entries: readonly Entry<Receipt>[]): void {
    if (this.stopped) return;
    const pause = setTimeout(() => {
      this.pauses.delete(pause);
      this.waiting.push(...entries);
      this.run();
    }, this.retryMs);
    this.pauses.add(pause);
  }
}
