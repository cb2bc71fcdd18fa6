import { Logger } from '@nestjs/common';
import type { Broker } from '../../harness/brokers/broker.js';
import { startKafka } from '../../harness/brokers/kafka.js';
import { startRabbitMq } from '../../harness/brokers/rabbitmq.js';
import { type Line, startLine } from '../../harness/line.js';
import { busOf, type MessageBus } from '../../src/messaging/index.js';

export const BUS_KINDS = ['rabbitmq', 'kafka'] as const;
export type BusKind = (typeof BUS_KINDS)[number];

const START = { rabbitmq: startRabbitMq, kafka: startKafka };
/** As in the replicas. */
const RETRY_MS = 100;

/** A broker, and the line through which all replicas reach it. */
export class Bus {
  private constructor(
    private readonly kind: BusKind,
    readonly broker: Broker,
    readonly line: Line,
  ) {}

  static async start(kind: BusKind): Promise<Bus> {
    // The clients of this process log each time when the broker is unavailable.
    Logger.overrideLogger(false);
    const broker = await START[kind]();
    return new Bus(kind, broker, await startLine(broker.port, broker.clientPort));
  }

  /** The settings of a replica that uses this bus. */
  get settings(): Record<string, string> {
    return this.kind === 'kafka' ? { KAFKA_BROKERS: this.address } : { AMQP_URL: this.amqpUrl };
  }

  /** Returns a client of this process, which uses the same queues and groups as the replicas. */
  connect(): Promise<MessageBus> {
    return busOf({
      retryMs: RETRY_MS,
      ...(this.kind === 'kafka' ? { kafkaBrokers: [this.address] } : { amqpUrl: this.amqpUrl }),
    });
  }

  async end(): Promise<void> {
    await this.broker.stop();
    await this.line.close();
  }

  private get address(): string {
    return `127.0.0.1:${this.line.port}`;
  }

  private get amqpUrl(): string {
    return `amqp://guest:guest@${this.address}`;
  }
}
