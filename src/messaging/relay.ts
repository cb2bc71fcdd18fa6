import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { Worker } from '../postgres/worker.js';
import { Consumers } from './consumers.js';
import { Inbox } from './inbox.js';
import type { Message } from './message.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import { Outbox } from './outbox.js';

/** Messages in one batch: enough to share round trips and commits, few enough for any broker to confirm within a second. */
const BATCH_MESSAGES = 500;

/**
 * Delivers or publishes the messages of the outbox. Every replica may run a relay: one relay at a time takes fresh messages, and relays skip
 * released messages that another relay has locked.
 */
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

  /** @returns the number of messages that took effect or were published */
  protected async run(): Promise<number> {
    let handled = 0;
    for (let hasMore = true; hasMore && !this.stopping;) {
      const fresh = await this.takeFresh();
      const batch = await this.outbox.publishDue(BATCH_MESSAGES, (messages) => this.publish(messages));
      handled += fresh + batch.published;
      // If the bus accepted nothing, it is probably unavailable. The next run tries again.
      hasMore = fresh === BATCH_MESSAGES || (batch.due === BATCH_MESSAGES && batch.published > 0);
    }
    return handled;
  }

  /**
   * Delivers fresh messages at once if the bus can do so. Otherwise, or if a consumer fails, releases them for `publishDue`.
   *
   * @returns the number of messages that took effect
   */
  private async takeFresh(): Promise<number> {
    const { bus } = this.options;
    try {
      if (bus.deliverWithin) return await this.outbox.deliverFresh(BATCH_MESSAGES, bus.deliverWithin.bind(bus));
    } catch (error) {
      // The inbox finds out which message has failed, after every error. If the database is unavailable, the release fails as well. If only
      // the answer to COMMIT was lost, the messages are gone.
      this.logger.debug(`Fresh messages failed, so they are released: ${String(error)}`);
    }
    await this.outbox.releaseFresh(BATCH_MESSAGES);
    return 0;
  }

  private publish(messages: readonly Message[]): Promise<readonly Message[]> {
    return this.options.bus.publish(messages).catch((error: unknown) => {
      this.logger.warn(`${messages.length} messages wait, because the bus is unavailable: ${String(error)}`);
      return [];
    });
  }
}
