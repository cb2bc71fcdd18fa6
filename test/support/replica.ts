import { SchedulerRegistry } from '@nestjs/schedule';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/database/data-source.js';
import type { Consumer, DeliveryOutcome, Message, MessageBus, Receiver } from '../../src/messaging/index.js';
import { Consumers, Inbox, MessagingEvents, Outbox, Relay } from '../../src/messaging/index.js';

export const MAX_ATTEMPTS = 3;
export const RETRY_MS = 50;

/** Hooks of a test around the deliveries of a replica. */
export interface Around {
  /** Runs before a delivery. It throws to imitate an unavailable database. */
  before?: (messages: readonly Message[]) => void;
  /** Runs after the consumer's transaction is committed and before the bus learns the result. */
  after?: (messages: readonly Message[]) => Promise<void> | void;
}

/** The messaging part of one process of a service: the real relay, outbox and inbox on a database, with the bus of a test. */
export class Replica {
  /** Ids of the messages that the bus has delivered, in order, by consumer. */
  readonly delivered: string[] = [];
  around: Around = {};
  private readonly dataSource: DataSource;
  private readonly schedule = new SchedulerRegistry();
  private readonly consumers = new Consumers();
  readonly relay: Relay;

  constructor(
    databaseUrl: string,
    readonly bus: MessageBus,
    consumers: readonly Consumer[],
  ) {
    this.dataSource = new DataSource(dataSourceOptions(databaseUrl, 4));
    const options = {
      bus,
      relayIntervalMs: 20,
      retryMs: RETRY_MS,
      maxAttempts: MAX_ATTEMPTS,
      retentionHours: 24,
      sweepCron: '0 0 1 1 *',
    };
    consumers.forEach((consumer) => this.consumers.register(consumer));
    const events = new MessagingEvents();
    const inbox = new Inbox(this.dataSource, events, options);
    this.relay = new Relay(
      new Outbox(this.dataSource, events, options),
      this.watch(inbox),
      this.consumers,
      this.schedule,
      options,
    );
  }

  async start(): Promise<this> {
    await this.dataSource.initialize();
    await this.relay.onApplicationBootstrap();
    return this;
  }

  async stop(): Promise<void> {
    this.schedule.getIntervals().forEach((name) => this.schedule.deleteInterval(name));
    await this.relay.beforeApplicationShutdown();
    await this.dataSource.destroy();
  }

  private watch(inbox: Inbox): Inbox {
    const watched: Receiver = {
      deliver: async (consumer, messages): Promise<DeliveryOutcome[]> => {
        this.delivered.push(...messages.map(({ id }) => id));
        this.around.before?.(messages);
        const deliveries = await inbox.deliver(consumer, messages);
        await this.around.after?.(messages);
        return deliveries;
      },
    };
    return watched as Inbox;
  }
}
