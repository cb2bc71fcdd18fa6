import type { MessageBus } from '../bus.js';
import { InProcessBus } from './in-process.bus.js';

export interface BusSettings {
  /** The RabbitMQ to use. */
  amqpUrl?: string | undefined;
  /** The Kafka to use: some of its brokers, as host:port. */
  kafkaBrokers?: readonly string[] | undefined;
  /** Milliseconds before a delivery that failed is tried again. */
  retryMs: number;
}

/** The bus that is configured. The library of a broker is loaded by who uses it, and is no cost of starting to others. */
export async function busOf({ amqpUrl, kafkaBrokers, retryMs }: BusSettings): Promise<MessageBus> {
  if (amqpUrl) {
    const { RabbitMqBus } = await import('./rabbitmq.bus.js');
    return new RabbitMqBus({ url: amqpUrl, retryMs });
  }
  if (kafkaBrokers) {
    const { KafkaBus } = await import('./kafka.bus.js');
    return new KafkaBus({ brokers: kafkaBrokers, retryMs });
  }
  return new InProcessBus();
}
