import { Logger } from '@nestjs/common';
import { type Channel, type ChannelModel, type ConfirmChannel, connect, type ConsumeMessage } from 'amqplib';
import { within } from '../../timing/time-limit.js';
import { type Consumer, MessageBus, type Receiver } from '../bus.js';
import { decode, encode, type Message } from '../message.js';
import { CLOSE_TIMEOUT_MS, PUBLISH_TIMEOUT_MS } from './broker-timeouts.js';
import { DeliveryLoop } from './delivery-loop.js';
import { Reconnection } from './reconnection.js';

const EXCHANGE = 'payments.messages';
const queueOf = ({ name }: Consumer) => `payments.${name}`;

/** Maximum number of unacknowledged messages that the broker sends to one consumer: two batches. */
const PREFETCH_MESSAGES = 1_000;
const CONNECT_TIMEOUT_MS = 5_000;
/** Seconds between two heartbeats. A connection without heartbeats is closed after two of these intervals. */
const HEARTBEAT_SECONDS = '10';

/**
 * Each consumer has a durable queue. The virtual host's default decides the type of the queue: classic for a single node, quorum for a
 * cluster that must survive the loss of a node. RabbitMQ 4 drops a message of a quorum queue after 20 interrupted deliveries, unless
 * a policy raises the queue's `delivery-limit`.
 */
const QUEUE = { durable: true };

interface Subscription {
  loop: DeliveryLoop<ConsumeMessage>;
  channel: Channel;
}

export interface RabbitMqOptions {
  /** URL with credentials: amqp:// or amqps://. */
  url: string;
  /** Milliseconds before a failed delivery is tried again. */
  retryMs: number;
}

/** A bus on RabbitMQ 3.10 or later, with publisher confirms. A delivery is acknowledged after the consumer's transaction has committed. */
export class RabbitMqBus extends MessageBus {
  private readonly logger = new Logger(RabbitMqBus.name);
  private readonly connection = new Reconnection('RabbitMQ', (connected) => this.runSession(connected));
  private readonly url: string;
  private readonly retryMs: number;
  private consumers: readonly Consumer[] = [];
  private receiver!: Receiver;
  private model: ChannelModel | undefined;
  private publisher: ConfirmChannel | undefined;
  private readonly subscriptions = new Set<Subscription>();
  /** Ids of messages that the broker returned because they match no queue. An id leaves the set when its confirm arrives. */
  private readonly returned = new Set<string>();

  constructor({ url, retryMs }: RabbitMqOptions) {
    super();
    const withHeartbeat = new URL(url);
    if (!withHeartbeat.searchParams.has('heartbeat')) withHeartbeat.searchParams.set('heartbeat', HEARTBEAT_SECONDS);
    this.url = withHeartbeat.href;
    this.retryMs = retryMs;
  }

  start(consumers: readonly Consumer[], receiver: Receiver): Promise<void> {
    this.consumers = consumers;
    this.receiver = receiver;
    this.connection.start();
    return Promise.resolve();
  }

  async publish(messages: readonly Message[]): Promise<readonly Message[]> {
    const { publisher } = this;
    if (!publisher) throw new Error('RabbitMQ is unavailable');
    const confirmed = new Set<Message>();
    const publishAll = () => Promise.all(messages.map((message) => this.publishOne(publisher, message, confirmed)));
    const error = await within(PUBLISH_TIMEOUT_MS, publishAll).catch((error: unknown) => error);
    if (confirmed.size === 0 && error instanceof Error) throw error;
    return messages.filter((message) => confirmed.has(message));
  }

  async stop(): Promise<void> {
    const ended = this.connection.stop();
    this.publisher = undefined;
    await Promise.all([...this.subscriptions].map((subscription) => this.unsubscribe(subscription)));
    await this.close();
    await within(CLOSE_TIMEOUT_MS, () => ended).catch(() => undefined);
  }

  /** Runs one session: resolves or rejects when the connection ends. */
  private async runSession(connected: () => void): Promise<void> {
    const model = await connect(this.url, { timeout: CONNECT_TIMEOUT_MS });
    const closed = new Promise<Error | undefined>((resolve) => model.on('close', resolve));
    // An 'error' event without a listener would end the process. The 'close' event reports the same error.
    model.on('error', () => undefined);
    this.model = model;
    try {
      if (this.connection.stopped) return;
      const publisher = await this.openPublisher(model);
      // All queues exist before the first message is published, so every message reaches its queues.
      for (const consumer of this.consumers) {
        await this.subscribe(model, consumer);
        if (this.connection.stopped) return;
      }
      this.publisher = publisher;
      connected();
      const reason = await closed;
      if (reason) throw reason;
    } finally {
      this.publisher = undefined;
      this.returned.clear();
      const subscriptions = [...this.subscriptions];
      this.subscriptions.clear();
      await Promise.all(subscriptions.map((subscription) => this.unsubscribe(subscription)));
      await this.close();
    }
  }

  /** Waits for the running batch and closes the channel. The broker then sends all unacknowledged messages to other replicas. */
  private async unsubscribe({ loop, channel }: Subscription): Promise<void> {
    await loop.stop();
    // The answer to `close` comes after the acknowledgements. The end of the connection could overtake the acknowledgements.
    await within(CLOSE_TIMEOUT_MS, () => channel.close()).catch(() => undefined);
  }

  private async openPublisher(model: ChannelModel): Promise<ConfirmChannel> {
    const channel = await model.createConfirmChannel();
    this.endSessionWith(channel);
    // A broker that is short of memory or disk blocks publishers. Messages sent in that state would pile up in this process.
    model.on('blocked', () => (this.publisher = undefined));
    model.on('unblocked', () => (this.publisher = channel));
    channel.on('return', ({ properties }) => this.returned.add(String(properties.messageId)));
    await channel.assertExchange(EXCHANGE, 'topic', { durable: true });
    return channel;
  }

  private async subscribe(model: ChannelModel, consumer: Consumer): Promise<void> {
    const queue = queueOf(consumer);
    const channel = await model.createChannel();
    this.endSessionWith(channel);
    await channel.assertQueue(queue, QUEUE);
    for (const type of consumer.types) await channel.bindQueue(queue, EXCHANGE, type);
    await channel.prefetch(PREFETCH_MESSAGES);
    const loop = new DeliveryLoop<ConsumeMessage>(consumer, this.receiver, this.retryMs, {
      acknowledge: (deliveries) => deliveries.forEach((delivery) => channel.ack(delivery)),
      // The channel is closed. The broker delivers these messages again, and the inbox recognises them as duplicates.
      onError: () => undefined,
    });
    this.subscriptions.add({ loop, channel });
    await channel.consume(queue, (delivery) => {
      // Without a delivery, this call means that the queue was deleted. The next session declares it again.
      if (!delivery) return void this.close();
      const message = this.read(queue, delivery);
      if (message) return loop.add(message, delivery);
      // Another delivery of the same bytes would fail as well. A dead-letter policy of the broker can keep rejected messages; otherwise they
      // are dropped here.
      channel.reject(delivery, false);
    });
  }

  private publishOne(publisher: ConfirmChannel, message: Message, confirmed: Set<Message>): Promise<void> {
    const { accountId, id, type } = message;
    const messageId = `${accountId}/${id}`;
    // A message for one of our consumers must reach a queue. A message without a consumer counts as published when the broker drops it.
    const mandatory = this.consumers.some(({ types }) => types.includes(type));
    const options = { persistent: true, mandatory, messageId, type, contentType: 'application/json' };
    return new Promise((resolve, reject) => {
      publisher.publish(EXCHANGE, type, Buffer.from(encode(message)), options, (error: unknown) => {
        const unroutable = this.returned.delete(messageId);
        if (error) return reject(error instanceof Error ? error : new Error('RabbitMQ refused a message'));
        if (!unroutable) confirmed.add(message);
        resolve();
      });
    });
  }

  private read(queue: string, { content, properties }: ConsumeMessage): Message | undefined {
    try {
      return decode(content.toString('utf8'));
    } catch (error) {
      this.logger.error(
        `${queue} contained an entry that is not a valid message, ${String(properties.messageId)}: ${String(error)}`,
      );
      return undefined;
    }
  }

  /** Ends the session when one of its channels closes, because a session needs all of its channels. The next session opens all of them. */
  private endSessionWith(channel: Channel): void {
    channel.on('error', (error) => this.logger.warn(`RabbitMQ closed a channel: ${error.message}`));
    channel.on('close', () => this.connection.stopped || void this.close());
  }

  private async close(): Promise<void> {
    const { model } = this;
    this.model = undefined;
    if (model) await within(CLOSE_TIMEOUT_MS, () => model.close()).catch(() => undefined);
  }
}
