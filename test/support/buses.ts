import { Producer } from '@platformatic/kafka';
import { connect } from 'amqplib';
import type { Message, MessageBus } from '../../src/messaging/index.js';
import { InProcessBus } from '../../src/messaging/index.js';
import { KafkaBus } from '../../src/messaging/buses/kafka.bus.js';
import { RabbitMqBus } from '../../src/messaging/buses/rabbitmq.bus.js';
import { type Line, startLine } from '../../harness/line.js';
import { RETRY_MS } from './replica.js';

/** A broker, and the network line to it, which a test can cut or stall. */
export interface Broker extends Pick<Line, 'cut' | 'stall' | 'mend'> {
  connect(): MessageBus;
  close(): Promise<void>;
}

export interface BusUnderTest {
  name: string;
  /** Name of the missing setting, if the bus cannot be tested. */
  missing?: string | undefined;
  open(): Promise<Broker>;
  /** Publishes bytes that are not a valid message, to the consumers of a type. */
  scribble?: (type: string) => Promise<void>;
}

const AMQP_URL = process.env['TEST_AMQP_URL'];
/** The address that the broker advertises, on which the tests listen, and the address on which the broker listens itself. */
const [KAFKA_BROKERS, KAFKA_LISTENER] = [process.env['TEST_KAFKA_BROKERS'], process.env['TEST_KAFKA_LISTENER']];

const NOT_A_MESSAGE = Buffer.from('{"no": "message"}');

const portOf = (address: string) => Number(address.split(':').at(-1));

export const BUSES: BusUnderTest[] = [
  { name: 'in process', open: () => Promise.resolve(openProcess()) },
  {
    name: 'RabbitMQ',
    missing: AMQP_URL ? undefined : 'TEST_AMQP_URL',
    open: async () => {
      const url = new URL(AMQP_URL ?? '');
      const line = await startLine(Number(url.port));
      url.port = String(line.port);
      return { ...line, connect: () => new RabbitMqBus({ url: url.href, retryMs: RETRY_MS }) };
    },
    scribble: async (type) => {
      const model = await connect(AMQP_URL ?? '');
      const channel = await model.createConfirmChannel();
      channel.publish('payments.messages', type, NOT_A_MESSAGE);
      await channel.waitForConfirms();
      await model.close();
    },
  },
  {
    name: 'Kafka',
    missing: !KAFKA_BROKERS ? 'TEST_KAFKA_BROKERS' : !KAFKA_LISTENER ? 'TEST_KAFKA_LISTENER' : undefined,
    open: async () => {
      const brokers = [KAFKA_BROKERS ?? ''];
      const line = await startLine(portOf(KAFKA_LISTENER ?? ''), portOf(brokers[0] ?? ''));
      return { ...line, connect: () => new KafkaBus({ brokers, retryMs: RETRY_MS }) };
    },
    scribble: async () => {
      const producer = new Producer({ clientId: 'test', bootstrapBrokers: [KAFKA_BROKERS ?? ''] });
      // Sends one message to every partition, because these bytes have neither a type nor an account that would select one.
      const messages = Array.from({ length: 12 }, (_, partition) => ({ topic: 'payments.messages', partition }));
      await producer.send({ messages: messages.map((at) => ({ ...at, value: NOT_A_MESSAGE })) });
      await producer.close();
    },
  },
];

/** The in-process bus has no broker, so `cut` and `stall` make the answer of the bus to the relay fail. */
function openProcess(): Broker {
  let isWhole = true;
  const mend = () => void (isWhole = true);
  const cut = () => void (isWhole = false);
  class CuttableBus extends InProcessBus {
    override async publish(messages: readonly Message[]): Promise<readonly Message[]> {
      if (!isWhole) throw new Error('the bus is unavailable');
      const published = await super.publish(messages);
      if (!isWhole) throw new Error('the bus is unavailable');
      return published;
    }
  }
  return { cut, stall: cut, mend, connect: () => new CuttableBus(), close: () => Promise.resolve() };
}
