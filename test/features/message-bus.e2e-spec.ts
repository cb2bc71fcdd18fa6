import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { Consumer, Message } from '../../src/messaging/index.js';
import { type Broker, BUSES, type BusUnderTest } from '../support/buses.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { append as appendTo } from '../support/messages.js';
import { MAX_ATTEMPTS, Replica } from '../support/replica.js';
import { until } from '../support/waiting.js';

const LEFT_OUT = BUSES.flatMap(({ name, missing }) =>
  missing ? [`${name} was left out, because ${missing} is not set: npm run test:brokers starts it`] : [],
);

describe.each(BUSES.filter(({ missing }) => !missing))('the bus $name', ({ open, scribble }: BusUnderTest) => {
  let database: TestDatabase;
  let broker: Broker;
  let replicas: Replica[];
  /** Each test has its own consumer and message type, because brokers keep the messages of earlier tests. */
  let type: string;
  let name: string;

  beforeAll(async () => {
    // Tests make the broker unavailable on purpose, and the bus logs each time.
    Logger.overrideLogger(false);
    database = await createDatabase();
    await database.sql('CREATE TABLE effects (consumer text, message_id text)');
    broker = await open();
  });
  beforeEach(async () => {
    await database.sql('TRUNCATE effects, outbox, processed_messages, failed_messages');
    [type, name] = [`test_${randomUUID()}.happened`, `test-${randomUUID()}`];
    replicas = [];
  });
  afterEach(async () => {
    broker.mend();
    await Promise.all(replicas.map((replica) => replica.stop()));
  });
  afterAll(async () => {
    await broker?.close();
    await database?.drop();
  });

  /** A consumer that inserts one row for each message, and fails for a batch that contains a message with `poison`. */
  const consumerOf = (consumer = name): Consumer => ({
    name: consumer,
    types: [type],
    handle: async (tx, messages) => {
      if (messages.some(({ data }) => (data as { poison?: boolean }).poison)) throw new Error('poison');
      const ids = messages.map(({ id }) => id);
      await tx.query('INSERT INTO effects SELECT $1, unnest($2::text[])', [consumer, ids]);
    },
  });

  async function start(consumers = [consumerOf()]): Promise<Replica> {
    const replica = new Replica(database.url, broker.connect(), consumers);
    replicas.push(replica);
    return replica.start();
  }

  const messageOf = (subject: string | number, data = {}): Message => ({
    accountId: `acct_${typeof subject === 'number' ? subject % 40 : 'a'}`,
    id: `${type}.${subject}`,
    type,
    data,
    createdAt: new Date(),
  });
  const messagesOf = (count: number, first = 0) => Array.from({ length: count }, (_, i) => messageOf(first + i));

  /** Inserts messages into the outbox, where the relay of any replica finds them. */
  const append = (messages: Message[]) => appendTo(database, messages);

  async function effects(consumer = name): Promise<string[]> {
    const rows = await database.sql<{ message_id: string }>('SELECT message_id FROM effects WHERE consumer = $1', [
      consumer,
    ]);
    return rows.map(({ message_id }) => message_id).sort();
  }
  const idsOf = (messages: readonly Message[]) => messages.map(({ id }) => id).sort();

  async function untilEach(messages: readonly Message[], consumer = name): Promise<void> {
    await until(async () => (await effects(consumer)).length >= messages.length);
    expect(await effects(consumer)).toEqual(idsOf(messages));
  }

  const unpublished = async () =>
    (await database.sql('SELECT id, attempts FROM outbox WHERE published_at IS NULL')) as unknown as {
      attempts: number;
    }[];
  const untilPublished = () => until(async () => (await unpublished()).length === 0);

  /** Publishes without the outbox, like a relay that crashed before it marked its messages as published. */
  async function publish(replica: Replica, messages: readonly Message[]): Promise<void> {
    await until(async () => {
      const published = await replica.bus.publish(messages).catch(() => []);
      return published.length === messages.length;
    });
  }

  it('delivers each appended message once, and then the outbox has no unpublished message', async () => {
    await start();
    const messages = messagesOf(300);
    await append(messages);
    await untilEach(messages);
    await untilPublished();
  });

  it('may deliver a message again, which then has no second effect', async () => {
    const replica = await start();
    const [message] = messagesOf(1) as [Message];
    await publish(replica, [message]);
    await untilEach([message]);
    await publish(replica, [message]);
    await publish(replica, [message]);
    await until(() => replica.delivered.length >= 3);
    await append(messagesOf(1, 1));
    await untilEach(messagesOf(2));
  });

  it('delivers committed messages again if their acknowledgement was lost, without a second effect', async () => {
    const first = await start();
    const messages = messagesOf(3);
    // The line is cut between the commit and the acknowledgement, and the process stops before it can acknowledge again.
    first.around.after = () => broker.cut();
    await append(messages);
    await until(() => first.delivered.length > 0);
    await until(async () => (await effects()).length > 0);
    await first.stop();
    replicas = [];
    const committed = await effects();
    broker.mend();

    const second = await start();
    await until(() => committed.every((id) => second.delivered.includes(id)));
    await untilEach(messages);
    await untilPublished();
  });

  it('delivers a message to two consumers, and each of them processes it once', async () => {
    const other = `${name}-other`;
    await start([consumerOf(), consumerOf(other)]);
    const messages = messagesOf(50);
    await append(messages);
    await untilEach(messages);
    await untilEach(messages, other);
  });

  it('shares the work of a consumer among replicas, and each message takes effect once', async () => {
    const pair = [await start(), await start()];
    const messages: Message[] = [];
    const more = async () => {
      messages.push(...messagesOf(20, messages.length));
      await append(messages.slice(-20));
    };
    await until(async () => {
      await more();
      return pair.every(({ delivered }) => delivered.length > 0);
    });
    for (let i = 0; i < 10; i++) await more();
    await untilEach(messages);
  });

  it('keeps a poison message as a dead letter after some attempts, while other messages of its account are processed', async () => {
    const replica = await start();
    const [poison, ...others] = [messageOf('poison', { poison: true }), messageOf('b'), messageOf('c')];
    await append([poison, ...others]);
    await untilEach(others);
    const dead = () => database.sql('SELECT message_id, attempts FROM failed_messages WHERE dead_at IS NOT NULL');
    await until(async () => (await dead()).length > 0);
    expect(await dead()).toEqual([{ message_id: poison.id, attempts: MAX_ATTEMPTS }]);
    await untilPublished();

    // The dead letter is not delivered any more: a later message arrives, and the dead letter does not.
    const deliveries = replica.delivered.length;
    await append([messageOf('d')]);
    await untilEach([...others, messageOf('d')]);
    expect(replica.delivered.slice(deliveries)).toEqual([messageOf('d').id]);
  });

  it('takes messages in any order', async () => {
    const replica = await start();
    const messages = [messageOf('a'), messageOf('b'), messageOf('c')];
    for (const message of messages.toReversed()) await publish(replica, [message]);
    await untilEach(messages);
  });

  it('loses no message while the broker is unavailable, and continues when the broker is back', async () => {
    await start();
    const before = messagesOf(20);
    await append(before);
    await untilEach(before);

    broker.cut();
    const during = messagesOf(50, 20);
    await append(during);
    await until(async () => (await unpublished()).some(({ attempts }) => attempts > 0));
    expect(await effects()).toHaveLength(before.length);

    broker.mend();
    await untilEach([...before, ...during]);
    await untilPublished();
  });

  it('loses no message when the connection to the broker breaks again and again during deliveries', async () => {
    await start();
    const messages: Message[] = [];
    for (let round = 1; round <= 3; round++) {
      messages.push(...messagesOf(200, messages.length));
      const sofar = (await effects()).length;
      await append(messages.slice(-200));
      await until(async () => (await effects()).length > sofar);
      broker.cut();
      broker.mend();
    }
    await untilEach(messages);
    await untilPublished();
  });

  it('starts while the broker is unavailable', async () => {
    broker.cut();
    await start();
    await append(messagesOf(5));
    await until(async () => (await unpublished()).some(({ attempts }) => attempts > 0));
    broker.mend();
    await untilEach(messagesOf(5));
  });

  it('stops waiting for a silent broker before PostgreSQL ends the transaction of the relay', async () => {
    await start();
    await append(messagesOf(1));
    await untilEach(messagesOf(1));
    broker.stall();
    await append([messageOf('silence')]);
    // The attempt is counted in the transaction that holds the locks, and PostgreSQL ends that transaction if it is idle for 5 s.
    await until(async () => (await unpublished()).some(({ attempts }) => attempts > 0));
    broker.mend();
    await append([messageOf('after')]);
    await until(async () => (await effects()).includes(messageOf('after').id));
  });

  it('delivers messages again after the database was unavailable, without counting a failed attempt', async () => {
    const replica = await start();
    let outages = 3;
    replica.around.before = () => {
      if (outages-- > 0) throw Object.assign(new Error('connection refused'), { code: 'ECONNREFUSED' });
    };
    await append(messagesOf(10));
    await untilEach(messagesOf(10));
    expect(await database.sql('SELECT FROM failed_messages')).toEqual([]);
  });

  it('counts a message without a consumer as published', async () => {
    const replica = await start();
    await append(messagesOf(1));
    await untilEach(messagesOf(1));
    const unwanted = { ...messageOf('x'), type: `${type}.unwanted` };
    expect(await replica.bus.publish([unwanted])).toEqual([unwanted]);
  });

  it('finishes the running delivery when it stops, and leaves the other messages to other replicas', async () => {
    const first = await start();
    let stopped: Promise<void> | undefined;
    first.around.after = () => void (stopped ??= first.bus.stop());
    const messages = messagesOf(40);
    await append(messages);
    await until(() => stopped !== undefined);
    await first.stop();
    replicas = [];
    const atEnd = await effects();
    expect(atEnd.length).toBeGreaterThan(0);

    await start();
    await untilEach(messages);
  });

  // The in-process bus has no place where another program could put bytes.
  if (scribble) {
    it('continues after bytes that are not a valid message', async () => {
      await start();
      await append(messagesOf(1));
      await untilEach(messagesOf(1));
      await scribble(type);
      await append(messagesOf(60, 1));
      await untilEach(messagesOf(61));
    });

    it('acknowledges the running delivery before it stops, so its messages are not delivered again', async () => {
      const first = await start();
      let stopped: Promise<void> | undefined;
      first.around.after = async () => {
        await untilPublished();
        stopped ??= first.bus.stop();
      };
      const messages = messagesOf(40);
      await append(messages);
      await until(() => stopped !== undefined);
      await first.stop();
      replicas = [];
      const atEnd = await effects();
      expect(atEnd.length).toBeGreaterThan(0);

      const second = await start();
      await append(messagesOf(1, 40));
      await untilEach(messagesOf(41));
      expect(second.delivered.filter((id) => atEnd.includes(id))).toEqual([]);
    });
  }
});

describe('the contract of the bus', () => {
  // These skipped tests name the buses that this run did not test. `global-teardown.js` repeats the names below the summary.
  LEFT_OUT.forEach((name) => it.skip(name, () => undefined));

  it(`is kept by ${BUSES.filter(({ missing }) => !missing).length} of ${BUSES.length} buses in this run`, () => {
    expect(BUSES.map(({ name }) => name)).toEqual(['in process', 'RabbitMQ', 'Kafka']);
  });
});
