import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { Worker } from '../postgres/worker.js';
import { Consumers } from './consumers.js';
import { Inbox } from './inbox.js';
import type { Message } from './message.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import { Outbox } from './outbox.js';

/** Messages published at once: enough to share round trips and commits, few enough for any broker to confirm in a second. */
const BATCH_MESSAGES = 500;

/** Publishes what is in the outbox. Every replica may run it: each takes rows that no other has. */
@Injectable()
export class Relay extends Worker implements OnApplicationBootstrap {
  constructor(
    private readonly outbox: Outbox,
    private readonly inbox: Inbox,
    private readonly consumers: Consumers,
    private readonly schedule: SchedulerRegistry,
    @Inject(MESSAGING_OPTIONS) private readonly options: MessagingOptions,
  ) {
    super();
  }

  async onApplicationBootstrap(): Promise<void> {
    await this.options.bus.start(this.consumers.all(), this.inbox);
    const timer = setInterval(() => void this.tick(), this.options.relayIntervalMs);
    this.schedule.addInterval('messaging:relay', timer);
  }

  override async beforeApplicationShutdown(): Promise<void> {
    await super.beforeApplicationShutdown();
    await this.options.bus.stop();
  }

  /** @returns how many messages were published */
  protected async run(): Promise<number> {
    let published = 0;
    for (let all = true; all && !this.stopping;) {
      const batch = await this.outbox.publishDue(BATCH_MESSAGES, (messages) => this.publish(messages));
      published += batch.published;
      // A bus that takes nothing is away, and is not asked again and again.
      all = batch.due === BATCH_MESSAGES && batch.published > 0;
    }
    return published;
  }

  private publish(messages: readonly Message[]): Promise<readonly Message[]> {
    return this.options.bus.publish(messages).catch((error: unknown) => {
      this.logger.warn(`${messages.length} messages wait, since the bus is away: ${String(error)}`);
      return [];
    });
  }
}
