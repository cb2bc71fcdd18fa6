import {
  Admin,
  compatibilityPartitioner,
  MessagesStreamModes,
  ProduceAcks,
  Producer,
  stringSerializers,
} from '@platformatic/kafka';
import { within } from '../../timing/time-limit.js';
import { type Consumer, MessageBus, type Receiver } from '../bus.js';
import { encode, type Message } from '../message.js';
import { CLOSE_TIMEOUT_MS, PUBLISH_TIMEOUT_MS } from './broker-timeouts.js';
import { CLIENT, KafkaSession, TOPIC } from './kafka-session.js';
import { Reconnection } from './reconnection.js';

/** Maximum number of replicas that share the work of one consumer. Kafka can add partitions later, but cannot remove any. */
const PARTITIONS = 12;
/** Lets the brokers use their configured replication factor (KIP-464). */
const REPLICAS_OF_BROKER = -1;

/** One attempt and one retry, both answered before {@link PUBLISH_TIMEOUT_MS}. */
const PRODUCER = {
  ...CLIENT,
  timeout: 1_000,
  connectTimeout: 1_000,
  requestTimeout: 1_500,
  retries: 1,
  retryDelay: 250,
};

export interface KafkaOptions {
  /** Addresses of some brokers, as host:port. The client learns the others from them. */
  brokers: readonly string[];
  /** Milliseconds before a failed delivery is tried again. */
  retryMs: number;
}

/**
 * A bus on Kafka 3.5 or later. All messages go through one topic. Their key is the account, so the messages of one account stay in
 * order. Each consumer is a group, and its offsets are committed after its transaction.
 */
export class KafkaBus extends MessageBus {
  private readonly brokers: string[];
  private readonly retryMs: number;
  private readonly reconnections: Reconnection[] = [];
  private readonly sessions = new Set<KafkaSession>();
  private producer: Producer<string, string, string, string> | undefined;
  private publishing: Promise<unknown> = Promise.resolve();
  private hasTopic = false;
  private stopped = false;
  /**
   * Consumers whose committed offset is older than the oldest message of the topic, because they did not run for longer than the topic keeps
   * messages.
   */
  private readonly truncated = new Set<Consumer>();

  constructor({ brokers, retryMs }: KafkaOptions) {
    super();
    this.brokers = [...brokers];
    this.retryMs = retryMs;
  }

  start(consumers: readonly Consumer[], receiver: Receiver): Promise<void> {
    for (const consumer of consumers) {
      const session = (connected: () => void) => this.consume(consumer, receiver, connected);
      const reconnection = new Reconnection(`Kafka for ${consumer.name}`, session);
      this.reconnections.push(reconnection);
      reconnection.start();
    }
    return Promise.resolve();
  }

  async publish(messages: readonly Message[]): Promise<readonly Message[]> {
    if (this.stopped) throw new Error('The bus is stopped');
    // One batch at a time. Two concurrent batches of one idempotent producer would get the same sequence numbers, so the broker
    // would drop the second batch as a duplicate of the first.
    const sent = this.publishing.then(() => within(PUBLISH_TIMEOUT_MS, () => this.send(messages)));
    this.publishing = sent.catch(() => this.dropProducer());
    await sent;
    return messages;
  }

  async stop(): Promise<void> {
    this.stopped = true;
    const ended = this.reconnections.map((reconnection) => reconnection.stop());
    await Promise.all([...this.sessions].map((session) => session.stop()));
    await Promise.all(ended);
    await this.publishing;
    await this.dropProducer();
  }

  private async send(messages: readonly Message[]): Promise<void> {
    await this.createTopic();
    this.producer ??= new Producer({
      ...PRODUCER,
      bootstrapBrokers: this.brokers,
      serializers: stringSerializers,
      idempotent: true,
      acks: ProduceAcks.ALL,
      // The partitioner of the Java client, so that other publishers choose the same partition for an account.
      partitioner: compatibilityPartitioner,
    });
    await this.producer.send({
      messages: messages.map((message) => ({ topic: TOPIC, key: message.accountId, value: encode(message) })),
    });
  }

  /** Drops the producer after a failure, because the sequence numbers that the broker has seen are unknown. The next batch gets a new producer. */
  private async dropProducer(): Promise<void> {
    const { producer } = this;
    this.producer = undefined;
    this.hasTopic = false;
    if (producer) await within(CLOSE_TIMEOUT_MS, () => Promise.resolve(producer.close(true))).catch(() => undefined);
  }

  private async consume(consumer: Consumer, receiver: Receiver, connected: () => void): Promise<void> {
    await this.createTopic();
    if (this.stopped) return;
    const mode = this.truncated.delete(consumer) ? MessagesStreamModes.EARLIEST : MessagesStreamModes.COMMITTED;
    const session = new KafkaSession(this.brokers, consumer, receiver, this.retryMs);
    this.sessions.add(session);
    try {
      await session.run(mode, connected);
    } catch (error) {
      // The topic may have been deleted, so the next session creates it if it is missing.
      this.hasTopic = false;
      if (isFailure(error) && error.findBy('apiId', 'OFFSET_OUT_OF_RANGE')) this.truncated.add(consumer);
      throw error;
    } finally {
      await session.stop();
      this.sessions.delete(session);
    }
  }

  private async createTopic(): Promise<void> {
    if (this.hasTopic) return;
    const admin = new Admin({ ...PRODUCER, bootstrapBrokers: this.brokers });
    try {
      await admin.createTopics({ topics: [TOPIC], partitions: PARTITIONS, replicas: REPLICAS_OF_BROKER });
    } catch (error) {
      if (!isFailure(error) || !error.findBy('apiId', 'TOPIC_ALREADY_EXISTS')) throw error;
    } finally {
      await within(CLOSE_TIMEOUT_MS, () => admin.close()).catch(() => undefined);
    }
    this.hasTopic = true;
  }
}

const isFailure = (error: unknown): error is Error & { findBy(name: string, value: string): unknown } =>
  error instanceof Error && 'findBy' in error;
