import { Logger } from '@nestjs/common';
import { type Channel, type ChannelModel, type ConfirmChannel, connect, type ConsumeMessage } from 'amqplib';
import { type Consumer, MessageBus, type Receiver } from '../bus.js';
import { decode, encode, type Message } from '../message.js';
import { DeliveryLoop } from './delivery-loop.js';
import { Reconnection } from './reconnection.js';
import { CLOSE_TIMEOUT_MS, PUBLISH_TIMEOUT_MS, within } from './time-limit.js';

const EXCHANGE = 'payments.messages';
const queueOf = ({ name }: Consumer) => `payments.${name}`;

/** Messages of one consumer that the broker hands out before the first is acknowledged: two batches. */
const PREFETCH_MESSAGES = 1_000;
/** Milliseconds to connect in, and seconds between two heartbeats: a peer that has fallen silent is given up after two. */
const CONNECT_TIMEOUT_MS = 5_000;
const HEARTBEAT_SECONDS = '10';

/**
 * A durable queue for each consumer, of the type that the virtual host has as its default: classic for one node, quorum where
 * a cluster has to survive the loss of one. Of a quorum queue RabbitMQ 4 drops a message after 20 deliveries that were cut
 * off, unless a policy lifts its `delivery-limit`.
 */
const QUEUE = { durable: true };

interface Subscription {
  loop: DeliveryLoop<ConsumeMessage>;
  channel: Channel;
}

export interface RabbitMqOptions {
  /** amqp:// or amqps://, with credentials. */
  url: string;
  /** Milliseconds before a delivery that failed is tried again. */
  retryMs: number;
}

/** RabbitMQ 3.10 or later: publisher confirms, manual acknowledgement once the consumer's transaction is committed. */
export class RabbitMqBus extends MessageBus {
  private readonly logger = new Logger(RabbitMqBus.name);
  private readonly connection = new Reconnection('RabbitMQ', (connected) => this.session(connected));
  private readonly url: string;
  private readonly retryMs: number;
  private consumers: readonly Consumer[] = [];
  private receiver!: Receiver;
  private model: ChannelModel | undefined;
  private publisher: ConfirmChannel | undefined;
  private readonly subscriptions = new Set<Subscription>();
  /** Messages that the broker could not put into any queue, until it confirms that it has dealt with them. */
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
    if (!publisher) throw new Error('RabbitMQ is away');
    const confirmed = new Set<Message>();
    const answers = Promise.all(messages.map((message) => this.publishOne(publisher, message, confirmed)));
    const error = await within(PUBLISH_TIMEOUT_MS, answers).catch((error: unknown) => error);
    if (confirmed.size === 0 && error instanceof Error) throw error;
    return messages.filter((message) => confirmed.has(message));
  }

  async stop(): Promise<void> {
    const ended = this.connection.stop();
    this.publisher = undefined;
    await Promise.all([...this.subscriptions].map((subscription) => this.end(subscription)));
    await this.close();
    await within(CLOSE_TIMEOUT_MS, ended).catch(() => undefined);
  }

  /** Lasts as long as the connection. */
  private async session(connected: () => void): Promise<void> {
    const model = await connect(this.url, { timeout: CONNECT_TIMEOUT_MS });
    const closed = new Promise<Error | undefined>((resolve) => model.on('close', resolve));
    // Without a listener it would end the process; `close` tells it as well.
    model.on('error', () => undefined);
    this.model = model;
    try {
      if (this.connection.stopped) return;
      const publisher = await this.openPublisher(model);
      // Before anything is published, so that every message finds its queues.
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
      await Promise.all(subscriptions.map((subscription) => this.end(subscription)));
      await this.close();
    }
  }

  /** Waits for the delivery under way. What has been handed out beyond that goes to others when the channel is closed. */
  private async end({ loop, channel }: Subscription): Promise<void> {
    await loop.stop();
    // It answers behind the acknowledgements. The end of the connection could overtake them.
    await within(CLOSE_TIMEOUT_MS, channel.close()).catch(() => undefined);
  }

  private async openPublisher(model: ChannelModel): Promise<ConfirmChannel> {
    const channel = await model.createConfirmChannel();
    this.closeWith(channel);
    // A broker that is short of memory or disk takes nothing until it says so; what is sent to it piles up in this process.
    model.on('blocked', () => (this.publisher = undefined));
    model.on('unblocked', () => (this.publisher = channel));
    channel.on('return', ({ properties }) => this.returned.add(String(properties.messageId)));
    await channel.assertExchange(EXCHANGE, 'topic', { durable: true });
    return channel;
  }

  private async subscribe(model: ChannelModel, consumer: Consumer): Promise<void> {
    const queue = queueOf(consumer);
    const channel = await model.createChannel();
    this.closeWith(channel);
    await channel.assertQueue(queue, QUEUE);
    for (const type of consumer.types) await channel.bindQueue(queue, EXCHANGE, type);
    await channel.prefetch(PREFETCH_MESSAGES);
    const settle = (deliveries: readonly ConsumeMessage[]) => deliveries.forEach((delivery) => channel.ack(delivery));
    // The channel is closed: the broker delivers these again, and the inbox knows them.
    const onLost = () => undefined;
    const loop = new DeliveryLoop<ConsumeMessage>(consumer, this.receiver, this.retryMs, settle, onLost);
    this.subscriptions.add({ loop, channel });
    await channel.consume(queue, (delivery) => {
      // Somebody has deleted the queue; the next session declares it anew.
      if (!delivery) return void this.close();
      const message = this.read(queue, delivery);
      if (message) return loop.add(message, delivery);
      // No later delivery could be read either. A policy of the broker may keep what is rejected; else it ends here.
      channel.reject(delivery, false);
    });
  }

  private publishOne(publisher: ConfirmChannel, message: Message, confirmed: Set<Message>): Promise<void> {
    const { accountId, id, type } = message;
    const messageId = `${accountId}/${id}`;
    // What a consumer of ours wants must find a queue. What nobody wants is published by being dropped, as in process.
    const mandatory = this.consumers.some(({ types }) => types.includes(type));
    const options = { persistent: true, mandatory, messageId, type, contentType: 'application/json' };
    return new Promise((resolve, reject) => {
      publisher.publish(EXCHANGE, type, Buffer.from(encode(message)), options, (error: unknown) => {
        const unroutable = this.returned.delete(messageId);
        if (error) return reject(error instanceof Error ? error : new Error('RabbitMQ has refused a message'));
        if (!unroutable) confirmed.add(message);
        resolve();
      });
    });
  }

  private read(queue: string, { content, properties }: ConsumeMessage): Message | undefined {
    try {
      return decode(content.toString('utf8'));
    } catch (error) {
      this.logger.error(`${queue} had something that is no message, ${String(properties.messageId)}: ${String(error)}`);
      return undefined;
    }
  }

  /** A session is all of its channels: without one of them, all are opened anew. */
  private closeWith(channel: Channel): void {
    channel.on('error', (error) => this.logger.warn(`RabbitMQ has closed a channel: ${error.message}`));
    channel.on('close', () => this.connection.stopped || void this.close());
  }

  private async close(): Promise<void> {
    const { model } = this;
    this.model = undefined;
    if (model) await within(CLOSE_TIMEOUT_MS, model.close()).catch(() => undefined);
  }
}
