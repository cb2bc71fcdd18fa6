import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Consumer, Receiver } from '../bus.js';
import type { Message } from '../message.js';
import { tryDeliver } from './try-deliver.js';

/** Maximum messages of one transaction: enough to share its commit, few enough to hold its locks only for a moment. */
const BATCH_MESSAGES = 500;

interface Entry<Receipt> {
  message: Message;
  receipt: Receipt;
}

/** The connection between a delivery loop and its broker. A receipt identifies one message to the broker. */
export interface Acknowledgement<Receipt> {
  /** Tells the broker that these messages are finished. If this throws, the broker delivers them again. */
  acknowledge: (receipts: readonly Receipt[]) => Promise<void> | void;
  /** Gets the error of `acknowledge`. */
  onError: (error: unknown) => void;
}

/**
 * Delivers the messages that a broker sends for one consumer, and acknowledges them when they are finished.
 *
 * Messages that arrive while a batch runs form the next batch, so that many messages share one transaction. A failed message
 * waits in this process for its retry and stays unacknowledged at the broker. Other messages overtake it, and the broker delivers
 * it to another replica if this process dies.
 */
export class DeliveryLoop<Receipt> {
  private readonly retryTimers = new Set<NodeJS.Timeout>();
  private waiting: Entry<Receipt>[] = [];
  private running: Promise<void> | undefined;
  private stopped = false;
  private unacknowledged = 0;

  /** @param retryMs milliseconds before a failed delivery is tried again */
  constructor(
    private readonly consumer: Consumer,
    private readonly receiver: Receiver,
    private readonly retryMs: number,
    private readonly acknowledgement: Acknowledgement<Receipt>,
  ) {}

  /** Number of messages that are not acknowledged yet. */
  get size(): number {
    return this.unacknowledged;
  }

  add(message: Message, receipt: Receipt): void {
    if (this.stopped) return;
    this.unacknowledged++;
    this.waiting.push({ message, receipt });
    this.run();
  }

  /** Starts no further batch, and waits until the running batch is processed and acknowledged. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.retryTimers.forEach((timer) => clearTimeout(timer));
    await this.running;
  }

  private run(): void {
    this.running ??= this.deliverAll().finally(() => {
      this.running = undefined;
      if (this.waiting.length > 0 && !this.stopped) this.run();
    });
  }

  private async deliverAll(): Promise<void> {
    // Messages that the broker sent together have all arrived by the next turn of the event loop.
    await nextTurn();
    while (this.waiting.length > 0 && !this.stopped) {
      const batch = this.waiting.splice(0, BATCH_MESSAGES);
      const messages = batch.map(({ message }) => message);
      const outcomes = await tryDeliver(this.receiver, this.consumer, messages);
      const failed = batch.filter((_, i) => outcomes[i] === 'failed');
      // A dead message is finished as well, because `failed_messages` keeps its dead letter.
      const finished = batch.filter((_, i) => outcomes[i] !== 'failed').map(({ receipt }) => receipt);
      if (failed.length > 0) this.retryLater(failed);
      if (finished.length > 0) await this.acknowledge(finished);
    }
  }

  private async acknowledge(receipts: readonly Receipt[]): Promise<void> {
    this.unacknowledged -= receipts.length;
    try {
      await this.acknowledgement.acknowledge(receipts);
    } catch (error) {
      this.acknowledgement.onError(error);
    }
  }

  private retryLater(entries: readonly Entry<Receipt>[]): void {
    if (this.stopped) return;
    const timer = setTimeout(() => {
      this.retryTimers.delete(timer);
      this.waiting.push(...entries);
      this.run();
    }, this.retryMs);
    this.retryTimers.add(timer);
  }
}
