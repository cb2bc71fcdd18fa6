import { Inject, Injectable, Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { isLockTimeout, sqlState } from '../postgres/database-errors.js';
import { nameWithin } from '../postgres/lock-order.js';
import { inTransaction, isOutage } from '../postgres/transaction.js';
import type { Consumer, Delivery, Receiver } from './bus.js';
import type { Message } from './message.js';
import { MessagingEvents } from './messaging.events.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import { RECEIVE, RECORD_FAILURE } from './messaging.sql.js';

/**
 * Milliseconds for finding out what is bad in a batch that has failed as a whole. The relay holds row locks meanwhile, and
 * PostgreSQL ends a transaction that is idle for 5 s.
 */
const SEARCH_MS = 1_500;
/**
 * How long the messages of one account wait for a row that is locked elsewhere, after the whole batch has waited in vain. Less than
 * {@link SEARCH_MS}, so that the other accounts get their turn.
 */
const LOCK_TIMEOUT = `SET LOCAL lock_timeout = '250ms'`;
const QUERY_CANCELED = '57014';
/** Characters of an error that are kept: its reason, rather than all that it quotes. */
const ERROR_LENGTH = 1_000;

/**
 * Takes deliveries, and does the work of each message once: its record in `processed_messages` and the consumer's work are one
 * transaction, so a message that is delivered again, at once or after a crash, meets the unique constraint and does nothing.
 */
@Injectable()
export class Inbox implements Receiver {
  private readonly logger = new Logger(Inbox.name);

  constructor(
    private readonly dataSource: DataSource,
    private readonly events: MessagingEvents,
    @Inject(MESSAGING_OPTIONS) private readonly options: MessagingOptions,
  ) {}

  deliver(consumer: Consumer, messages: readonly Message[]): Promise<Delivery[]> {
    return this.tell(consumer, this.try(consumer, messages, false, performance.now() + SEARCH_MS));
  }

  /** Delivers a message though it is dead. */
  async redeliver(consumer: Consumer, message: Message): Promise<Delivery | undefined> {
    const [delivery] = await this.tell(consumer, this.try(consumer, [message], true));
    return delivery;
  }

  private async try(
    consumer: Consumer,
    messages: readonly Message[],
    again: boolean,
    deadline = 0,
    hasWaited = false,
  ): Promise<Delivery[]> {
    const deliveries = new Map<Message, Delivery>();
    let parts: (readonly Message[])[];
    try {
      return await this.process(consumer, messages, again, hasWaited);
    } catch (error) {
      if (isUncertain(error) || (again && isLockTimeout(error))) throw error;
      const [message] = messages;
      if (isLockTimeout(error)) {
        // A locked row belongs to one account, so the messages of the others can be processed without it.
        parts = byAccount(messages);
        if (!hasWaited) [hasWaited, deadline] = [true, performance.now() + SEARCH_MS];
        // No fault of a message: delivered again, and not counted.
        if (parts.length === 1) return messages.map(() => 'failed');
      } else {
        if (messages.length === 1 && message) return [await this.recordFailure(consumer, message, error)];
        // One of them is bad. Alone, it harms no other; halves find it in a few transactions.
        const middle = Math.ceil(messages.length / 2);
        parts = [messages.slice(0, middle), messages.slice(middle)];
      }
    }
    for (const [i, part] of parts.entries()) {
      // Those that are not tried are delivered again. The first part always is, so that something is dealt with each time.
      if (i > 0 && performance.now() >= deadline) break;
      const tried = await this.try(consumer, part, again, deadline, hasWaited);
      part.forEach((message, j) => deliveries.set(message, tried[j] ?? 'failed'));
    }
    return messages.map((message) => deliveries.get(message) ?? 'failed');
  }

  /** @param again whether the dead are delivered as well, rather than left as they are */
  private async process(
    consumer: Consumer,
    messages: readonly Message[],
    again: boolean,
    hasWaited: boolean,
  ): Promise<Delivery[]> {
    const concerned = messages.filter((message) => consumer.concerns?.(message) ?? true);
    if (concerned.length === 0) return messages.map(() => 'processed');
    const { name, handle } = consumer;
    const values = [name, concerned.map(({ accountId }) => accountId), concerned.map(({ id }) => id), again];
    return inTransaction(this.dataSource, async (tx) => {
      if (hasWaited) await tx.sql.query(LOCK_TIMEOUT);
      const { rows } = await tx.sql.query({ name: 'messaging_receive', text: RECEIVE, values });
      const received = rows as unknown as ReceivedRow[];
      const namesOf = (isDead: boolean) =>
        new Set(
          received.flatMap((row) => (row.is_dead === isDead ? [nameWithin(row.account_id, row.message_id)] : [])),
        );
      const [dead, first] = [namesOf(true), namesOf(false)];
      // Of two deliveries of one message in one batch, the first.
      const fresh = concerned.filter(({ accountId, id }) => first.delete(nameWithin(accountId, id)));
      if (fresh.length > 0) await handle(tx.manager, fresh);
      return messages.map(({ accountId, id }) => (dead.has(nameWithin(accountId, id)) ? 'dead' : 'processed'));
    });
  }

  private async tell({ name: consumer }: Consumer, deliveries: Promise<Delivery[]>): Promise<Delivery[]> {
    for (const delivery of await deliveries) this.events.next({ type: 'delivered', consumer, delivery });
    return deliveries;
  }

  /** A failure that cannot be recorded fails only this message, so the messages delivered with it are still processed. */
  private async recordFailure({ name }: Consumer, message: Message, error: unknown): Promise<Delivery> {
    const { accountId, id, type, data = null, createdAt } = message;
    // Without what PostgreSQL cannot store.
    const reason = String(error).replaceAll('\0', '').slice(0, ERROR_LENGTH);
    try {
      const about = [accountId, name, id, type, JSON.stringify(data), createdAt];
      const values = [...about, reason, this.options.maxAttempts];
      const { rows } = await inTransaction(this.dataSource, ({ sql }) => sql.query({ text: RECORD_FAILURE, values }));
      const { attempts, is_dead: isDead } = rows[0] as unknown as FailureRow;
      this.logger.warn(`${name} failed at ${id}, attempt ${attempts}${isDead ? ', a dead letter now' : ''}: ${reason}`);
      return isDead ? 'dead' : 'failed';
    } catch (failure) {
      if (isUncertain(failure)) throw failure;
      const cause = String(failure).slice(0, ERROR_LENGTH);
      this.logger.error(`${name} failed at ${id}, and the failure cannot be recorded (${cause}): ${reason}`);
      return 'failed';
    }
  }
}

interface ReceivedRow {
  account_id: string;
  message_id: string;
  is_dead: boolean;
}

interface FailureRow {
  attempts: number;
  is_dead: boolean;
}

/**
 * Whether the database has failed rather than a message: it is unavailable, or its answer to COMMIT was lost. A statement that is cancelled
 * counts as a failure of the message, because it has probably taken longer than `statement_timeout` and would do so again. A lock
 * that is held elsewhere is dealt with before.
 */
const isUncertain = (error: unknown) => isOutage(error) && sqlState(error) !== QUERY_CANCELED && !isLockTimeout(error);

function byAccount(messages: readonly Message[]): Message[][] {
  const parts = new Map<string, Message[]>();
  for (const message of messages) parts.set(message.accountId, [...(parts.get(message.accountId) ?? []), message]);
  return [...parts.values()];
}
