import { Logger } from '@nestjs/common';
import { Consumer as KafkaConsumer, type Message as Delivery, MessagesStreamModes } from '@platformatic/kafka';
import type { Consumer, Receiver } from '../bus.js';
import { decode, type Message } from '../message.js';
import { DeliveryLoop } from './delivery-loop.js';
import { KafkaOffsets } from './kafka-offsets.js';
import { CLOSE_TIMEOUT_MS, within } from './time-limit.js';

export const TOPIC = 'payments.messages';
export const CLIENT = { clientId: 'payments' };

/** Messages that are held before no more are taken, and until more are: two batches, and one. */
const MOST_HELD = 1_000;
const FEW_HELD = 500;

const CONSUMER = {
  ...CLIENT,
  autocommit: false,
  // A replica that dies holds up its partitions for 10 s; one that is busy sends its heartbeats all the same.
  sessionTimeout: 10_000,
  heartbeatInterval: 3_000,
  rebalanceTimeout: 15_000,
  // The broker answers at once when there is something, and after this when there is nothing.
  maxWaitTime: 1_000,
  // Whoever joins has its answer when the others have, or when they are given up.
  requestTimeout: 20_000,
  retries: 2,
  retryDelay: 250,
};

interface Receipt {
  partition: number;
  offset: bigint;
}

/** The membership of one consumer in its group, from joining it to whatever ends it. */
export class KafkaSession {
  private readonly logger = new Logger(KafkaSession.name);
  private readonly offsets = new KafkaOffsets();
  private readonly client: KafkaConsumer<Buffer, Buffer, Buffer, Buffer>;
  private readonly loop: DeliveryLoop<Receipt>;
  private readonly ended: Promise<void>;
  private end!: (error?: Error) => void;
  private stopped: Promise<void> | undefined;

  constructor(
    brokers: string[],
    private readonly consumer: Consumer,
    receiver: Receiver,
    retryMs: number,
  ) {
    this.ended = new Promise((resolve, reject) => {
      this.end = (error) => (error ? reject(error) : resolve());
    });
    this.ended.catch(() => undefined);
    this.client = new KafkaConsumer({ ...CONSUMER, bootstrapBrokers: brokers, groupId: `payments.${consumer.name}` });
    this.client.on('error', (error: Error) => this.end(error));
    this.loop = new DeliveryLoop(
      consumer,
      receiver,
      retryMs,
      (receipts) => this.commit(receipts),
      // Another session begins at what is committed, and so catches up with it.
      (error) => this.end(new Error('Offsets were not committed', { cause: error })),
    );
  }

  /**
   * Delivers until the session ends.
   *
   * @param mode where to begin: at what is committed, or at the earliest message that there is
   * @throws what has ended it, unless that was {@link stop}
   */
  async run(mode: 'committed' | 'earliest', connected: () => void): Promise<void> {
    const joined = this.client.consume({
      topics: [TOPIC],
      mode,
      // A new consumer is told of everything there is, as with a queue that was there before.
      fallbackMode: MessagesStreamModes.EARLIEST,
    });
    // A session that is stopped while it joins need not have an answer any more.
    joined.then((stream) => this.stopped && stream.close()).catch(() => undefined);
    const stream = await Promise.race([joined, this.ended]);
    if (!stream) return;
    connected();
    stream.on('error', (error) => this.end(error));
    stream.on('close', () => this.end(new Error('The stream has ended')));
    stream.on('data', (delivery) => {
      this.receive(delivery);
      if (this.loop.size >= MOST_HELD && !stream.isPaused()) stream.pause();
    });
    this.resume = () => stream.isPaused() && !stream.destroyed && stream.resume();
    await this.ended;
  }

  /** Takes nothing more, waits for the delivery under way, commits, and leaves the group. */
  stop(): Promise<void> {
    this.stopped ??= this.leave();
    return this.stopped;
  }

  private resume: () => void = () => undefined;

  private async leave(): Promise<void> {
    await this.loop.stop();
    this.end();
    // A broker that is away cannot be told; it finds out by itself that this member is gone. (The type of `close` says nothing
    // of the promise that it returns.)
    await within(CLOSE_TIMEOUT_MS, Promise.resolve(this.client.close(true))).catch(() =>
      this.client.connections.close(),
    );
  }

  private receive(delivery: Delivery): void {
    const { partition, offset } = delivery;
    this.offsets.receive(partition, offset);
    const message = this.read(delivery);
    if (message && this.consumer.types.includes(message.type)) this.loop.add(message, { partition, offset });
    else this.offsets.finish(partition, offset);
  }

  private async commit(receipts: readonly Receipt[]): Promise<void> {
    for (const { partition, offset } of receipts) this.offsets.finish(partition, offset);
    if (this.loop.size <= FEW_HELD) this.resume();
    const own = this.client.assignments?.find(({ topic }) => topic === TOPIC)?.partitions ?? [];
    // Not for a partition that another has by now, who may be further.
    const places = this.offsets.places().filter(({ partition }) => own.includes(partition));
    if (places.length === 0) return;
    // The epoch of a partition's leader tells a truncated log; we go on from where we are.
    await this.client.commit({ offsets: places.map((place) => ({ topic: TOPIC, leaderEpoch: -1, ...place })) });
  }

  private read({ partition, offset, value }: Delivery): Message | undefined {
    try {
      return decode(value.toString('utf8'));
    } catch (error) {
      // No later delivery could be read either, and the partition must go on. The topic keeps it for who looks for it.
      const place = `offset ${offset} of partition ${partition}`;
      this.logger.error(`${TOPIC} has something that is no message, at ${place}: ${String(error)}`);
      return undefined;
    }
  }
}
