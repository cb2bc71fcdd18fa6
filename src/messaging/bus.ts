import type { EntityManager } from 'typeorm';
import type { Message } from './message.js';

/** Who is concerned by messages, and what they do about them. */
export interface Consumer {
  /** Of the inbox, and of the queue or group at a broker: it outlives deployments, so it never changes. */
  readonly name: string;
  readonly types: readonly string[];
  /** Which of these messages: all of them unless told. What concerns nobody is not recorded. */
  readonly concerns?: (message: Message) => boolean;
  /**
   * Does the work for messages that come for the first time, in one transaction with their record in the inbox. It touches
   * nothing but the database, through `tx`, and finds the same result whatever the order. What it throws rolls
   * everything back; the messages are delivered again in parts, until the bad one is alone.
   */
  readonly handle: (tx: EntityManager, messages: readonly Message[]) => Promise<void>;
}

/** What came of a delivery. Failed: deliver it again later. Dead: it is kept as a dead letter, and not delivered again. */
export type Delivery = 'processed' | 'failed' | 'dead';

/** Does the work of a consumer, once for each message. */
export interface Receiver {
  /**
   * @returns what came of each message, in order
   * @throws when nothing is known of any of them, as when the database is away: deliver all of them again
   */
  deliver(consumer: Consumer, messages: readonly Message[]): Promise<Delivery[]>;
}

/**
 * Carries messages from the outbox to the consumers: at least once, in any order. Whatever the bus, a message that was
 * taken is not lost, and its delivery counts as done only when its consumer's transaction is committed.
 */
export abstract class MessageBus {
  /** Begins to deliver, now or as soon as the broker can be reached. */
  abstract start(consumers: readonly Consumer[], receiver: Receiver): Promise<void>;

  /**
   * Puts messages on the bus.
   *
   * @returns those that are there for good; the others are to be published again
   * @throws when the bus is away
   */
  abstract publish(messages: readonly Message[]): Promise<readonly Message[]>;

  /** Delivers nothing new, and waits for the deliveries under way. */
  abstract stop(): Promise<void>;
}
