import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import { createClient } from 'redis';
import type { EntityManager } from 'typeorm';
import { within } from '../../timing/time-limit.js';
import type { Mail } from '../mail.js';
import { LIMIT_SECONDS, type MailLimit } from './mail-limit.js';

/** The consumer's transaction is open while it waits, and PostgreSQL ends a transaction that is idle for 5 s. Redis answers in less than 1 ms. */
const ANSWER_TIMEOUT_MS = 500;
/** Maximum number of commands that wait for a connected Redis that does not answer: two batches. Further commands fail at once. */
const MAX_WAITING_COMMANDS = 1_000;

/**
 * The limit in Redis 7 or later: `SET … NX EX 86400`.
 *
 * Redis and PostgreSQL do not commit together, and Redis can lose a claim: in a failover, by eviction, or in a restart without
 * persistence. An order then gets a second mail. If Redis does not answer, mails are sent without a limit, because an outage of
 * Redis must not delay or lose them.
 */
export class RedisMailLimit implements MailLimit, OnApplicationShutdown {
  private readonly logger = new Logger(RedisMailLimit.name);
  private readonly client;

  /** Starts to connect. The service starts without Redis, and uses it as soon as it can be reached. */
  constructor(url: string) {
    this.client = createClient({ url, disableOfflineQueue: true, commandsQueueMaxLength: MAX_WAITING_COMMANDS });
    // The client connects again by itself. An 'error' event without a listener would end the process.
    this.client.on('error', (error: Error) => this.logger.warn(`Redis is unavailable: ${error.message}`));
    this.client.connect().catch(() => undefined);
  }

  async admit(_tx: EntityManager, mails: readonly Mail[]): Promise<readonly Mail[]> {
    const claimAll = () => Promise.all(mails.map((mail) => this.claim(mail)));
    try {
      const holders = await within(ANSWER_TIMEOUT_MS, claimAll);
      return mails.filter(({ messageId }, i) => holders[i] === null || holders[i] === messageId);
    } catch (error) {
      this.logger.warn(
        `${mails.length} mails are sent without a limit, because Redis does not answer: ${String(error)}`,
      );
      return mails;
    }
  }

  /** Waits for the answers to the commands that were sent. The relay has stopped before, so no new command follows. */
  async onApplicationShutdown(): Promise<void> {
    await within(ANSWER_TIMEOUT_MS, () => this.client.close()).catch(() => this.client.destroy());
  }

  /**
   * Claims the mail of an order for 24 hours.
   *
   * @returns null if this call has claimed it; otherwise the id of the message that had claimed it. A message whose transaction rolled
   *   back after its claim finds its own id.
   */
  private claim({ accountId, orderId, messageId }: Mail): Promise<string | null> {
    const options = { condition: 'NX', expiration: { type: 'EX', value: LIMIT_SECONDS }, GET: true } as const;
    return this.client.set(`payments:mail:${accountId}:${orderId}`, messageId, options);
  }
}
