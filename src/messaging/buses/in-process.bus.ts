import type { EntityManager } from 'typeorm';
import { concerning, type Consumer, type Delivery, MessageBus, type Receiver } from '../bus.js';
import type { Message } from '../message.js';
import { tryDeliver } from './try-deliver.js';

/**
 * A bus without a broker, for a single service. The outbox is the queue. Fresh messages take effect in the transaction that deletes them. If that
 * fails, they are delivered through the inbox, which finds the message that failed. A message that a consumer failed to process stays in the
 * outbox. Replicas share the work: one relay at a time delivers fresh messages, and each relay locks other rows of the released ones.
 */
export class InProcessBus extends MessageBus {
  private consumers: readonly Consumer[] = [];
  private receiver?: Receiver;

  start(consumers: readonly Consumer[], receiver: Receiver): Promise<void> {
    this.consumers = consumers;
    this.receiver = receiver;
    return Promise.resolve();
  }

  override async deliverWithin(tx: EntityManager, messages: readonly Message[]): Promise<readonly Delivery[]> {
    this.expectStarted();
    const deliveries = this.consumers.map((consumer) => ({ consumer, messages: messagesOf(consumer, messages) }));
    // One consumer after the other and always in the same order, so that two relays lock rows in the same order.
    for (const { consumer, messages } of deliveries) {
      const concerned = concerning(consumer, messages);
      if (concerned.length > 0) await consumer.handle(tx, concerned);
    }
    return deliveries;
  }

  async publish(messages: readonly Message[]): Promise<readonly Message[]> {
    const receiver = this.expectStarted();
    const failed = new Set<Message>();
    for (const consumer of this.consumers) {
      const own = messagesOf(consumer, messages);
      if (own.length === 0) continue;
      const outcomes = await tryDeliver(receiver, consumer, own);
      outcomes.forEach((outcome, i) => outcome === 'failed' && failed.add(own[i] as Message));
    }
    return messages.filter((message) => !failed.has(message));
  }

  private expectStarted(): Receiver {
    if (!this.receiver) throw new Error('The bus has not been started, so no consumer would get the messages');
    return this.receiver;
  }

  async stop(): Promise<void> {
    // Deliveries run inside the relay, and the relay has stopped before the bus is stopped.
  }
}

const messagesOf = ({ types }: Consumer, messages: readonly Message[]) =>
  messages.filter(({ type }) => types.includes(type));
