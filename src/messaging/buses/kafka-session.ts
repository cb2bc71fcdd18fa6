import { Logger } from '@nestjs/common';
import {
  Consumer as KafkaConsumer,
  type Message as KafkaMessage,
  type MessagesStream,
  MessagesStreamModes,
} from '@platformatic/kafka';
import { within } from '../../timing/time-limit.js';
import type { Consumer, Receiver } from '../bus.js';
import { decode, type Message } from '../message.js';
import { CLOSE_TIMEOUT_MS } from './broker-timeouts.js';
import { DeliveryLoop } from './delivery-loop.js';
import { KafkaOffsets } from './kafka-offsets.js';

export const TOPIC = 'payments.messages';
export const CLIENT = { clientId: 'payments' };

/** The stream pauses at this number of unacknowledged messages, which is two batches. */
const PAUSE_AT_MESSAGES = 1_000;
/** A paused stream resumes at this number of unacknowledged messages, which is one batch. */
const RESUME_AT_MESSAGES = 500;

const CONSUMER = {
  ...CLIENT,
  autocommit: false,
  // The partitions of a dead replica wait 10 s for a new owner. A busy replica still sends heartbeats, so it keeps its partitions.
  sessionTimeout: 10_000,
  heartbeatInterval: 3_000,
  rebalanceTimeout: 15_000,
  // The broker answers a fetch at once if it has messages, and after this time if it has none.
  maxWaitTime: 1_000,
  // A join is answered only after the rebalance, so this must exceed rebalanceTimeout.
  requestTimeout: 20_000,
  retries: 2,
  retryDelay: 250,
};

interface Receipt {
  partition: number;
  offset: bigint;
}

/** The membership of one consumer in its Kafka group, from joining the group to leaving or losing it. */
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
    this.loop = new DeliveryLoop(consumer, receiver, retryMs, {
      acknowledge: (receipts) => this.commit(receipts),
      // The next session starts at the committed offsets, so it gets the messages again that are not acknowledged.
      onError: (error) => this.end(new Error('Offsets were not committed', { cause: error })),
    });
  }

  /**
   * Delivers messages until the session ends.
   *
   * @param mode where to start: at the committed offsets, or at the earliest message of the topic
   * @param connected is called when the consumer has joined its group
   * @throws the error that ended the session. {@link stop} ends it without an error.
   */
  async run(mode: 'committed' | 'earliest', connected: () => void): Promise<void> {
    const joined = this.join(mode);
    // If the session stops during the join, nothing waits for the stream, so it is closed here.
    joined.then((stream) => this.stopped && stream.close()).catch(() => undefined);
    const stream = await Promise.race([joined, this.ended]);
    if (!stream) return;
    connected();
    stream.on('close', () => this.end(new Error('The stream ended')));
    stream.on('data', (received) => {
      this.receive(received);
      if (this.loop.size >= PAUSE_AT_MESSAGES && !stream.isPaused()) stream.pause();
    });
    this.resume = () => stream.isPaused() && !stream.destroyed && stream.resume();
    await this.ended;
  }

  /** Starts no further delivery, waits for the running one, commits its offsets, and leaves the group. */
  stop(): Promise<void> {
    this.stopped ??= this.leave();
    return this.stopped;
  }

  /** Joins the group. The promise resolves to a stream whose errors end the session. */
  private join(mode: 'committed' | 'earliest') {
    const options = {
      topics: [TOPIC],
      mode,
      // A new consumer gets all messages that the topic still has, as it would from a queue that existed before.
      fallbackMode: MessagesStreamModes.EARLIEST,
    };
    return new Promise<MessagesStream<Buffer, Buffer, Buffer, Buffer>>((resolve, reject) => {
      this.client.consume(options, (error, stream) => {
        if (error || !stream) return reject(error ?? new Error('Kafka gave no stream'));
        // The listener is added in this call, because a stream of a client that was closed during the join fails before a promise is
        // answered, and an 'error' event without a listener would end the process.
        stream.on('error', (fault) => this.end(fault));
        resolve(stream);
      });
    });
  }

  private resume: () => void = () => undefined;

  private async leave(): Promise<void> {
    await this.loop.stop();
    this.end();
    // An unavailable broker does not confirm. It removes this member from the group after the session timeout. `Promise.resolve` is
    // necessary because the type of `close` omits the promise that it returns.
    await within(CLOSE_TIMEOUT_MS, () => Promise.resolve(this.client.close(true))).catch(() =>
      this.client.connections.close(),
    );
  }

  private receive(received: KafkaMessage): void {
    const { partition, offset } = received;
    this.offsets.receive(partition, offset);
    const message = this.read(received);
    if (message && this.consumer.types.includes(message.type)) this.loop.add(message, { partition, offset });
    else this.offsets.finish(partition, offset);
  }

  private async commit(receipts: readonly Receipt[]): Promise<void> {
    for (const { partition, offset } of receipts) this.offsets.finish(partition, offset);
    if (this.loop.size <= RESUME_AT_MESSAGES) this.resume();
    const own = this.client.assignments?.find(({ topic }) => topic === TOPIC)?.partitions ?? [];
    // A partition that has moved to another member is left out, because that member may have committed a later offset.
    const committable = this.offsets.committable().filter(({ partition }) => own.includes(partition));
    if (committable.length === 0) return;
    // leaderEpoch -1 means "unknown". The epoch would reveal a truncated log, but this consumer goes on from its offset in any case.
    await this.client.commit({ offsets: committable.map((each) => ({ topic: TOPIC, leaderEpoch: -1, ...each })) });
  }

  private read({ partition, offset, value }: KafkaMessage): Message | undefined {
    try {
      return decode(value.toString('utf8'));
    } catch (error) {
      // Another delivery of the same bytes would fail as well, and the partition must go on, so the entry is skipped. The topic keeps it.
      const place = `offset ${offset} of partition ${partition}`;
      this.logger.error(`${TOPIC} contains an entry that is not a valid message, at ${place}: ${String(error)}`);
      return undefined;
    }
  }
}
