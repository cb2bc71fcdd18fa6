import { Inject, Injectable, Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { inTransaction, isDatabaseUnavailable } from '../idempotency/index.js';
import type { Consumer, Delivery, Receiver } from './bus.js';
import type { Message } from './message.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import { RECEIVE, RECORD_FAILURE } from './messaging.sql.js';

/**
 * Takes deliveries, and does the work of each message once: its record in `processed_messages` and the consumer's work are one
 * transaction, so a message that is delivered again, at once or after a crash, meets the unique constraint and does nothing.
 */
@Injectable()
export class Inbox implements Receiver {
  private readonly logger = new Logger(Inbox.name);

  constructor(
    private readonly dataSource: DataSource,
    @Inject(MESSAGING_OPTIONS) private readonly options: MessagingOptions,
  ) {}

  async deliver(consumer: Consumer, messages: readonly Message[]): Promise<Delivery[]> {
    const concerned = messages.filter((message) => consumer.concerns?.(message) ?? true);
    try {
      if (concerned.length > 0) await this.process(consumer, concerned);
      return messages.map(() => 'processed');
    } catch (error) {
      if (isUncertain(error)) throw error;
      const [message] = messages;
      if (messages.length === 1 && message) return [await this.recordFailure(consumer, message, error)];
    }
    // One of them is bad. Alone, it harms no other.
    const deliveries: Delivery[] = [];
    for (const message of messages) deliveries.push(...(await this.deliver(consumer, [message])));
    return deliveries;
  }

  private process({ name, handle }: Consumer, messages: readonly Message[]): Promise<void> {
    const parameters = [name, messages.map(({ accountId }) => accountId), messages.map(({ id }) => id)];
    return inTransaction(this.dataSource, async (tx) => {
      await tx.begun;
      const { rows } = await tx.sql.query({ name: 'messaging_receive', text: RECEIVE, values: parameters });
      const received = new Set(
        (rows as unknown as ReceivedRow[]).map(({ account_id, message_id }) => nameOf(account_id, message_id)),
      );
      // Of two deliveries of one message in one batch, the first.
      const fresh = messages.filter(({ accountId, id }) => received.delete(nameOf(accountId, id)));
      if (fresh.length > 0) await handle(tx.manager, fresh);
    });
  }

  private async recordFailure({ name }: Consumer, message: Message, error: unknown): Promise<Delivery> {
    const { accountId, id, type, data, createdAt } = message;
    const values = [
      accountId,
      name,
      id,
      type,
      JSON.stringify(data),
      createdAt,
      String(error),
      this.options.maxAttempts,
    ];
    const { rows } = await inTransaction(this.dataSource, ({ sql }) => sql.query({ text: RECORD_FAILURE, values }));
    const { attempts, is_dead: isDead } = rows[0] as unknown as FailureRow;
    this.logger.warn(
      `${name} failed at ${id}, attempt ${attempts}${isDead ? ', a dead letter now' : ''}: ${String(error)}`,
    );
    return isDead ? 'dead' : 'failed';
  }
}

interface ReceivedRow {
  account_id: string;
  message_id: string;
}

interface FailureRow {
  attempts: number;
  is_dead: boolean;
}

/** With its length before the account, since any separator could be part of either. */
const nameOf = (accountId: string, messageId: string) => `${accountId.length}:${accountId}${messageId}`;

/** Not the doing of a message: the database is away or busy, or its answer to COMMIT was lost. */
const isUncertain = (error: unknown) =>
  isDatabaseUnavailable(error) || (error instanceof Error && error.name === 'CommitUnknown');
