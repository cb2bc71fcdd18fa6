import {
  Admin,
  compatibilityPartitioner,
  MessagesStreamModes,
  ProduceAcks,
  Producer,
  stringSerializers,
} from '@platformatic/kafka';
import { type Consumer, MessageBus, type Receiver } from '../bus.js';
import { encode, type Message } from '../message.js';
import { CLIENT, KafkaSession, TOPIC } from './kafka-session.js';
import { Reconnection } from './reconnection.js';
import { CLOSE_TIMEOUT_MS, PUBLISH_TIMEOUT_MS, within } from './time-limit.js';

/** As many replicas can share the work of one consumer. More can be added later, fewer cannot. */
const PARTITIONS = 12;
/** As many copies as the brokers are configured to keep (KIP-464). */
const REPLICAS_OF_BROKER = -1;

/** A try, another soon, and there is time for its answer before a publication is given up. */
const PRODUCER = {
  ...CLIENT,
  timeout: 1_000,
  connectTimeout: 1_000,
  requestTimeout: 1_500,
  retries: 1,
  retryDelay: 250,
};

export interface KafkaOptions {
  /** Some of the brokers, as host:port: they know the others. */
  brokers: readonly string[];
  /** Milliseconds before a delivery that failed is tried again. */
  retryMs: number;
}

/**
 * Kafka 3.5 or later. One topic, with the account as key, so that what happens to one account stays in order; one group for
 * each consumer, whose offsets are committed once its transaction is.
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
  /** Whose place is before what the topic still has: it kept messages for a shorter time than the consumer was away. */
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
    // One at a time: two batches of one idempotent producer would get the same sequence numbers, and the broker would take
    // the second for a repetition of the first.
    if (this.stopped) throw new Error('The bus is stopped');
    const sent = this.publishing.then(() => within(PUBLISH_TIMEOUT_MS, this.send(messages)));
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
      // That of the Java client, so that whoever else publishes finds the same partition for an account.
      partitioner: compatibilityPartitioner,
    });
    await this.producer.send({
      messages: messages.map((message) => ({ topic: TOPIC, key: message.accountId, value: encode(message) })),
    });
  }

  /** After a failure it is not known which sequence numbers the broker has seen: the next batch gets a producer of its own. */
  private async dropProducer(): Promise<void> {
    const { producer } = this;
    this.producer = undefined;
    this.hasTopic = false;
    if (producer) await within(CLOSE_TIMEOUT_MS, Promise.resolve(producer.close(true))).catch(() => undefined);
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
      // Somebody may have deleted it.
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
      await within(CLOSE_TIMEOUT_MS, admin.close()).catch(() => undefined);
    }
    this.hasTopic = true;
  }
}

const isFailure = (error: unknown): error is Error & { findBy(name: string, value: string): unknown } =>
  error instanceof Error && 'findBy' in error;
