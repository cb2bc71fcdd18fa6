import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { Delivery } from './bus.js';
import { Consumers } from './consumers.js';
import { Inbox } from './inbox.js';
import { FIND_DEAD, LIST_DEAD } from './messaging.sql.js';

/** A message that a consumer has failed at too often. */
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

/** Looks at dead letters, and sends them again. */
@Injectable()
export class DeadLetters {
  constructor(
    private readonly dataSource: DataSource,
    private readonly consumers: Consumers,
    private readonly inbox: Inbox,
  ) {}

  /** Up to `limit`, the latest first. */
  list(accountId: string, limit: number): Promise<DeadLetter[]> {
    return this.dataSource.query<DeadLetter[]>(LIST_DEAD, [accountId, limit]);
  }

  /**
   * Delivers a dead letter once more, to the consumer that failed at it and to no other. Once it is processed it is no dead
   * letter any more.
   *
   * @returns what came of it; `undefined` when there is no such dead letter
   */
  async redeliver(accountId: string, consumerName: string, messageId: string): Promise<Delivery | undefined> {
    const [letter] = await this.dataSource.query<DeadLetter[]>(FIND_DEAD, [accountId, consumerName, messageId]);
    const consumer = this.consumers.find(consumerName);
    if (!letter || !consumer) return undefined;
    const { type, data, created_at: createdAt } = letter;
    return this.inbox.redeliver(consumer, { accountId, id: messageId, type, data, createdAt });
  }
}
