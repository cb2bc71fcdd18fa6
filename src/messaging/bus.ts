import type { EntityManager } from 'typeorm';
import type { Message } from './message.js';

/** The message types that one part of the application handles, and its handler. */
export interface Consumer {
  /**
   * Identifies the consumer in the inbox, and its queue or group at a broker. Never change a name, because the inbox and the broker
   * remember it across deployments.
   */
  readonly name: string;
  readonly types: readonly string[];
  /** Selects messages within {@link types}; default: all. A message that no consumer selects leaves no row in the inbox. */
  readonly concerns?: (message: Message) => boolean;
  /**
   * Processes messages that this consumer has not processed yet, in the transaction that deletes them from the outbox or inserts them into the
   * inbox. The handler writes to the database through `tx`, because a rollback must undo its work. An effect elsewhere, such as a mail, happens again
   * after a rollback, so it must be harmless to repeat, and it must be quick. The result must not depend on the order of messages.
   * If the handler throws, the transaction rolls back, and smaller parts of the batch are tried.
   */
  readonly handle: (tx: EntityManager, messages: readonly Message[]) => Promise<void>;
}

/** @param messages of the types of the consumer */
export const concerning = (consumer: Consumer, messages: readonly Message[]): readonly Message[] =>
  messages.filter((message) => consumer.concerns?.(message) ?? true);

/**
 * Outcome of one delivery. `processed`: the work is committed, now or by an earlier delivery. `failed`: deliver the message again
 * later. `dead`: the message is a dead letter and is not delivered again.
 */
export type DeliveryOutcome = 'processed' | 'failed' | 'dead';

/** The messages that one consumer has processed in a transaction that is still open. */
export interface Delivery {
  consumer: Consumer;
  messages: readonly Message[];
}

/** Processes deliveries for a consumer, each message once. */
export interface Receiver {
  /**
   * @returns the outcome of each message, in order
   * @throws Error if the outcome is unknown for the whole batch, for example because the database is unavailable. Deliver the
   *   whole batch again then.
   */
  deliver(consumer: Consumer, messages: readonly Message[]): Promise<DeliveryOutcome[]>;
}

/**
 * Carries messages from the outbox to the consumers, at least once and in any order. Every bus keeps two rules: a message that the bus has accepted
 * is not lost, and a delivery is acknowledged only after the consumer's transaction has committed.
 */
export abstract class MessageBus {
  /** Starts to deliver, now or as soon as the broker can be reached. */
  abstract start(consumers: readonly Consumer[], receiver: Receiver): Promise<void>;

  /**
   * Puts messages on the bus.
   *
   * @returns the messages that the bus has stored durably or delivered. Publish the others again.
   * @throws Error if the bus is unavailable
   */
  abstract publish(messages: readonly Message[]): Promise<readonly Message[]>;

  /**
   * Delivers messages in the transaction that deletes them from the outbox. Only a bus whose consumers write to the database of the outbox has
   * this method.
   *
   * @returns the deliveries, which count once the transaction has committed
   * @throws Error if a consumer fails. The caller must then roll the transaction back
   */
  deliverWithin?(tx: EntityManager, messages: readonly Message[]): Promise<readonly Delivery[]>;

  /** Starts no further delivery, and waits for the running ones. */
  abstract stop(): Promise<void>;
}
