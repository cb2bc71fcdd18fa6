import { Inject, Injectable, Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { inTransaction } from '../postgres/transaction.js';
import type { Consumer, DeliveryOutcome, Receiver } from './bus.js';
import type { Message } from './message.js';
import { MessagingEvents } from './messaging.events.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import { COUNT_FAILURE } from './messaging.sql.js';
import { type BatchOptions, kindOf, processBatch } from './process-batch.js';

/**
 * Milliseconds for splitting a batch that failed as a whole. The relay holds row locks during that time, and PostgreSQL ends a
 * transaction that is idle for 5 s.
 */
const SPLITTING_MS = 1_500;
/** Maximum characters of a stored error: enough for the reason, without all the text that an error may quote. */
const MAX_ERROR_LENGTH = 1_000;

/**
 * Processes deliveries, each message once.
 *
 * A batch is tried in one transaction. If the transaction fails, the batch is split and the parts are tried:
 *
 * - A locked row belongs to one account, so the batch is split by account. The messages of the locked account are delivered again
 *   later. Their attempts are not counted, because a lock is not the fault of a message.
 * - If the consumer failed, at least one message is bad. The batch is split into halves, which isolates one bad message of n in
 *   about 2 log2(n) transactions. If a message fails alone, its failed attempt is counted. After too many failed
 *   attempts, the message is a dead letter.
 * - If the database is unavailable, the delivery throws, no attempt is counted, and the bus delivers the whole batch again.
 */
@Injectable()
export class Inbox implements Receiver {
  private readonly logger = new Logger(Inbox.name);

  constructor(
    private readonly dataSource: DataSource,
    private readonly events: MessagingEvents,
    @Inject(MESSAGING_OPTIONS) private readonly options: MessagingOptions,
  ) {}

  /**
   * Processes a batch of one consumer, and splits the batch if its transaction fails.
   *
   * @returns the outcome of each message, in order. Messages for which there was no time are `failed`, without a counted attempt.
   * @throws Error if the database is unavailable
   */
  async deliver(consumer: Consumer, batch: readonly Message[]): Promise<DeliveryOutcome[]> {
    const outcomes = new Map<Message, DeliveryOutcome>();
    const untried = [batch];
    let deadline = performance.now() + SPLITTING_MS;
    let lockTimeout: BatchOptions['lockTimeout'] = 'default';
    for (let part = untried.shift(); part; part = untried.shift()) {
      const result = await processBatch(this.dataSource, consumer, part, { deadLetters: 'skip', lockTimeout });
      switch (result.kind) {
        case 'committed':
          part.forEach((message, i) => outcomes.set(message, result.outcomes[i] ?? 'failed'));
          break;
        case 'row locked': {
          // Only one part of a batch waits for as long as the server allows. After that wait the splitting gets its full time.
          if (lockTimeout === 'default') deadline = performance.now() + SPLITTING_MS;
          lockTimeout = 'short';
          const accounts = byAccount(part);
          if (accounts.length > 1) untried.unshift(...accounts);
          else part.forEach((message) => outcomes.set(message, 'failed'));
          break;
        }
        case 'consumer failed': {
          const [message, ...others] = part;
          if (!message || others.length > 0) untried.unshift(...halvesOf(part));
          else outcomes.set(message, await this.countFailure(consumer, message, result.error));
          break;
        }
        case 'database unavailable':
          throw result.error;
      }
      // The splitting ends only after the first outcome, so that each delivery makes progress, however slow the consumer is.
      if (outcomes.size > 0 && performance.now() >= deadline) break;
    }
    const all = batch.map((message) => outcomes.get(message) ?? 'failed');
    this.events.announce(consumer, all);
    return all;
  }

  /**
   * Delivers a dead letter once more.
   *
   * @throws Error if the database is unavailable or a row is locked. The dead letter stays as it is then.
   */
  async redeliver(consumer: Consumer, message: Message): Promise<DeliveryOutcome> {
    const outcome = await this.processDeadLetter(consumer, message);
    this.events.announce(consumer, [outcome]);
    return outcome;
  }

  private async processDeadLetter(consumer: Consumer, message: Message): Promise<DeliveryOutcome> {
    const options = { deadLetters: 'process', lockTimeout: 'default' } as const;
    const result = await processBatch(this.dataSource, consumer, [message], options);
    switch (result.kind) {
      case 'committed':
        return 'processed';
      case 'consumer failed':
        return this.countFailure(consumer, message, result.error);
      case 'row locked':
      case 'database unavailable':
        throw result.error;
    }
  }

  /**
   * Counts a failed attempt of one message. If the failure itself cannot be stored, only this message has failed, so the messages
   * that were delivered with it are still processed.
   */
  private async countFailure({ name }: Consumer, message: Message, error: unknown): Promise<DeliveryOutcome> {
    const { accountId, id, type, data = null, createdAt } = message;
    // PostgreSQL cannot store U+0000 in text.
    const reason = String(error).replaceAll('\0', '').slice(0, MAX_ERROR_LENGTH);
    const values = [accountId, name, id, type, JSON.stringify(data), createdAt, reason, this.options.maxAttempts];
    try {
      const { rows } = await inTransaction(this.dataSource, ({ sql }) => sql.query({ text: COUNT_FAILURE, values }));
      const { attempts, is_dead: isDead } = rows[0] as unknown as FailureRow;
      const consequence = isDead ? 'is a dead letter now' : 'will be delivered again';
      this.logger.warn(`${name} failed to process ${id}, attempt ${attempts}; the message ${consequence}: ${reason}`);
      return isDead ? 'dead' : 'failed';
    } catch (failure) {
      if (kindOf(failure) === 'database unavailable') throw failure;
      const cause = String(failure).slice(0, MAX_ERROR_LENGTH);
      this.logger.error(`${name} failed to process ${id}, and the failure cannot be stored (${cause}): ${reason}`);
      return 'failed';
    }
  }
}

interface FailureRow {
  attempts: number;
  is_dead: boolean;
}

function byAccount(messages: readonly Message[]): Message[][] {
  const parts = new Map<string, Message[]>();
  for (const message of messages) parts.set(message.accountId, [...(parts.get(message.accountId) ?? []), message]);
  return [...parts.values()];
}

function halvesOf(messages: readonly Message[]): (readonly Message[])[] {
  const middle = Math.ceil(messages.length / 2);
  return [messages.slice(0, middle), messages.slice(middle)];
}
