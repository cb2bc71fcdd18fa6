import { type Consumer, MessageBus, type Receiver } from '../bus.js';
import type { Message } from '../message.js';
import { tryDeliver } from './try-deliver.js';

/**
 * A bus without a broker, for a single service. The outbox is the queue: to publish a message is to deliver it, and a message that a
 * consumer failed to process stays in the outbox. Several replicas share the work, because each relay locks other rows.
 */
export class InProcessBus extends MessageBus {
  private consumers: readonly Consumer[] = [];
  private receiver?: Receiver;

  start(consumers: readonly Consumer[], receiver: Receiver): Promise<void> {
    this.consumers = consumers;
    this.receiver = receiver;
    return Promise.resolve();
  }

  async publish(messages: readonly Message[]): Promise<readonly Message[]> {
    const { receiver } = this;
    if (!receiver) throw new Error('The bus has not been started, so no consumer would get the messages');
    const failed = new Set<Message>();
    for (const consumer of this.consumers) {
      const own = messages.filter(({ type }) => consumer.types.includes(type));
      if (own.length === 0) continue;
      const outcomes = await tryDeliver(receiver, consumer, own);
      outcomes.forEach((outcome, i) => outcome === 'failed' && failed.add(own[i] as Message));
    }
    return messages.filter((message) => !failed.has(message));
  }

  async stop(): Promise<void> {
    // Deliveries run inside the relay, and the relay has stopped before the bus is stopped.
  }
}
