import { setTimeout as pause } from 'node:timers/promises';
import type { Consumer, Message, MessageBus } from '../../src/messaging/index.js';
import type { Arena } from './arena.js';
import type { Bus } from './bus.js';
import { TYPES } from './consumers.js';
import { alone, type Fault, type Landed, pauseFor } from './fault.js';
import type { Random } from './random.js';

/** The pause before a broker that died is started again, as a supervisor would do. */
const RESTART_MS = { least: 50, most: 800 };
/** Shorter and longer than the 3 s in which a broker must confirm a batch. */
const SILENT_MS = { least: 500, most: 6_000 };
const CUT_MS = { least: 0, most: 1_500 };
/** How long to wait until a client of this process is connected. In Kafka, a new member waits for all other members of its group. */
const CONNECT_MS = 30_000;
/** How long the guest keeps the messages that it has taken. */
const KEEP_MS = { least: 0, most: 1_000 };
const MESSAGES_AGAIN = 300;
const LOOK_INTERVAL_MS = 50;

interface Scene {
  arena: Arena;
  bus: Bus;
  random: Random;
  landed: Landed;
}

/** A fault of the broker. Only one at a time is injected. */
const onBroker =
  (work: (scene: Scene) => Promise<void>): Fault =>
  async (arena, random, landed) => {
    const { bus } = arena;
    if (bus) await alone(bus, () => work({ arena, bus, random, landed }));
  };

/** Repeats `look` until it returns true. Returns whether it did in time. */
async function isTrueInTime(look: () => Promise<boolean> | boolean): Promise<boolean> {
  const deadline = performance.now() + CONNECT_MS;
  while (performance.now() < deadline) {
    if (await look()) return true;
    await pause(LOOK_INTERVAL_MS);
  }
  return false;
}

/** Uses a client that belongs to no replica. */
async function withGuest(bus: Bus, work: (guest: MessageBus) => Promise<void>): Promise<void> {
  const guest = await bus.connect();
  await work(guest).finally(() => guest.stop());
}

/** Faults of a message broker. */
export const BROKER_FAULTS = {
  /** Kills the broker with SIGKILL. It starts again with the messages that it has stored. */
  'broker killed': onBroker(async ({ bus: { broker }, random, landed }) => {
    await broker.kill();
    await pauseFor(random, RESTART_MS);
    await broker.restart();
    landed();
  }),

  /** SIGSTOP for a while, then SIGCONT. The system still accepts connections for the broker. */
  'broker frozen': onBroker(async ({ bus: { broker }, random, landed }) => {
    broker.signal('SIGSTOP');
    await pauseFor(random, SILENT_MS);
    broker.signal('SIGCONT');
    landed();
  }),

  /** Breaks all connections to the broker, and refuses new ones for a while. */
  'broker cut off': onBroker(async ({ bus: { line }, random, landed }) => {
    line.cut();
    await pauseFor(random, CUT_MS);
    line.mend();
    landed();
  }),

  /** The network drops everything between the replicas and the broker for a while, without notifying either side. */
  'broker silent': onBroker(async ({ bus: { line }, random, landed }) => {
    line.stall();
    await pauseFor(random, SILENT_MS);
    line.mend();
    landed();
  }),

  /** Publishes messages a second time, as a relay does that crashes before it marks them as published. */
  'messages published again': onBroker(({ arena, bus, landed }) =>
    withGuest(bus, async (guest) => {
      const rows = (await arena.database.query(PUBLISHED, [MESSAGES_AGAIN]).catch(() => [])) as unknown as Message[];
      if (rows.length === 0) return;
      await guest.start([], { deliver: () => Promise.resolve([]) });
      let published = 0;
      await isTrueInTime(async () => (published = (await guest.publish(rows).catch(() => [])).length) > 0);
      if (published > 0) landed(`${published} messages`);
    }),
  ),

  /**
   * A further consumer of each queue or group joins, takes messages, and leaves without acknowledging them. RabbitMQ delivers these messages
   * again. Kafka rebalances its groups twice.
   */
  'consumer joins and leaves': onBroker(({ bus, random, landed }) =>
    withGuest(bus, async (guest) => {
      let taken = 0;
      const deliver = (_: Consumer, messages: readonly Message[]) => {
        taken += messages.length;
        return Promise.resolve(messages.map(() => 'failed' as const));
      };
      const handle = () => Promise.reject(new Error('the guest has no database'));
      await guest.start(
        Object.entries(TYPES).map(([name, types]) => ({ name, types, handle })),
        { deliver },
      );
      if (!(await isTrueInTime(() => taken > 0))) return;
      await pauseFor(random, KEEP_MS);
      landed(`${taken} deliveries`);
    }),
  ),
} satisfies Record<string, Fault>;

// $1 number of messages
const PUBLISHED = `
  SELECT account_id AS "accountId", id, type, data, created_at AS "createdAt" FROM outbox
  WHERE published_at IS NOT NULL ORDER BY random() LIMIT $1`;
