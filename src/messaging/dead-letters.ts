import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { DeliveryOutcome } from './bus.js';
import { Consumers } from './consumers.js';
import { Inbox } from './inbox.js';
import { FIND_DEAD, LIST_DEAD } from './messaging.sql.js';

/** A message that is not delivered any more, because a consumer failed to process it too often. */
export interface DeadLetter {
  consumer: string;
  message_id: string;
  type: string;
  data: unknown;
  created_at: Date;
  attempts: number;
  last_error: string;
  dead_at: Date;
}

/** Lists and redelivers dead letters. */
@Injectable()
export class DeadLetters {
  constructor(
    private readonly dataSource: DataSource,
    private readonly consumers: Consumers,
    private readonly inbox: Inbox,
  ) {}

  /** Returns up to `limit` dead letters of an account, the latest first. */
  list(accountId: string, limit: number): Promise<DeadLetter[]> {
    return this.dataSource.query<DeadLetter[]>(LIST_DEAD, [accountId, limit]);
  }

  /**
   * Delivers a dead letter once more, only to the consumer that failed to process it. A dead letter that is processed is deleted
   * from the dead letters.
   *
   * @returns the outcome; `undefined` if the dead letter or its consumer does not exist
   * @throws Error if the database is unavailable or a row is locked
   */
  async redeliver(accountId: string, consumerName: string, messageId: string): Promise<DeliveryOutcome | undefined> {
    const [letter] = await this.dataSource.query<DeadLetter[]>(FIND_DEAD, [accountId, consumerName, messageId]);
    const consumer = this.consumers.find(consumerName);
    if (!letter || !consumer) return undefined;
    const { type, data, created_at: createdAt } = letter;
    return this.inbox.redeliver(consumer, { accountId, id: messageId, type, data, createdAt });
  }
}
