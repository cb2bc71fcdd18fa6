import { type Consumer, MessageBus, type Receiver } from '../bus.js';
import type { Message } from '../message.js';
import { deliver } from './deliver.js';

/**
 * The bus of a single service: the outbox is the queue. Publishing is delivering, and what a consumer fails at stays in the
 * outbox. Several replicas share the work, since each takes other rows.
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
    if (!receiver) throw new Error('The bus has not been started: nobody would get the messages');
    const failed = new Set<Message>();
    for (const consumer of this.consumers) {
      const own = messages.filter(({ type }) => consumer.types.includes(type));
      if (own.length === 0) continue;
      const deliveries = await deliver(receiver, consumer, own);
      deliveries.forEach((delivery, i) => delivery === 'failed' && failed.add(own[i] as Message));
    }
    return messages.filter((message) => !failed.has(message));
  }

  async stop(): Promise<void> {
    // Deliveries are the relay's, which has ended.
  }
}
