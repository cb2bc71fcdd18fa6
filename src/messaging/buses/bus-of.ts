import type { MessageBus } from '../bus.js';
import { InProcessBus } from './in-process.bus.js';

export interface BusSettings {
  /** URL of RabbitMQ, if that is the bus. */
  amqpUrl?: string | undefined;
  /** Addresses of some Kafka brokers, as host:port, if Kafka is the bus. */
  kafkaBrokers?: readonly string[] | undefined;
  /** Milliseconds before a failed delivery is tried again. */
  retryMs: number;
}

/** Returns the configured bus. The client library of a broker is loaded only if that broker is used, because loading it slows the start. */
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
