import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { inTransaction } from '../postgres/transaction.js';
import type { Message } from './message.js';
import { MessagingEvents } from './messaging.events.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import { BACKLOG, LOCK_DUE, MARK_PUBLISHED, POSTPONE } from './messaging.sql.js';

/** Maximum delay between two attempts to publish a message, so that a bus that recovers is noticed within a minute. */
const LONGEST_DELAY_SECONDS = 60;

/** The messages that have to be published. Features append messages in their own SQL statements, with `appendToOutbox`. */
@Injectable()
export class Outbox {
  constructor(
    private readonly dataSource: DataSource,
    private readonly events: MessagingEvents,
    @Inject(MESSAGING_OPTIONS) private readonly options: MessagingOptions,
  ) {}

  /**
   * Publishes up to `limit` messages that are due, the longest waiting first. The rows stay locked while `publish` runs, so another
   * relay takes other rows. If this process dies, its connection ends and the locks with it, so another relay takes these rows.
   *
   * @param publish returns the messages that it has published. The others are postponed, for longer after each attempt.
   * @returns the number of messages that were due, and of those that were published
   */
  async publishDue(
    limit: number,
    publish: (messages: readonly Message[]) => Promise<readonly Message[]>,
  ): Promise<{ due: number; published: number }> {
    const batch = await inTransaction(
      this.dataSource,
      async ({ sql }) => {
        const { rows } = await sql.query({ name: 'messaging_lock_due', text: LOCK_DUE, values: [limit] });
        const messages = (rows as unknown as OutboxRow[]).map(messageOf);
        if (messages.length === 0) return { due: 0, published: 0 };
        const published = new Set(await publish(messages));
        const [done, postponed] = [[...published], messages.filter((message) => !published.has(message))];
        // If this statement or the COMMIT fails, the messages are published again. Hence delivery is at-least-once.
        if (done.length > 0)
          await sql.query({ name: 'messaging_published', text: MARK_PUBLISHED, values: keysOf(done) });
        if (postponed.length > 0) {
          const delays = [this.options.retryMs / 1000, LONGEST_DELAY_SECONDS];
          await sql.query({ text: POSTPONE, values: [...keysOf(postponed), ...delays] });
        }
        return { due: messages.length, published: done.length };
      },
      { attempts: 1 },
    );
    if (batch.published > 0) this.events.next({ type: 'published', messages: batch.published });
    return batch;
  }

  /** Returns the size of the backlog, for metrics. */
  async backlog(): Promise<Backlog> {
    const [backlog] = await this.dataSource.query<Backlog[]>(BACKLOG);
    if (!backlog) throw new Error('A SELECT without FROM returned no row');
    return backlog;
  }
}

/** The messages of all accounts that have not taken effect yet. */
export interface Backlog {
  /** Age of the oldest unpublished message; 0 if every message is published. */
  oldestUnpublishedSeconds: number;
  deadLetters: number;
}

interface OutboxRow {
  account_id: string;
  id: string;
  type: string;
  data: unknown;
  created_at: Date;
}

const messageOf = ({ account_id, id, type, data, created_at }: OutboxRow): Message => ({
  accountId: account_id,
  id,
  type,
  data,
  createdAt: created_at,
});

const keysOf = (messages: readonly Message[]) => [
  messages.map(({ accountId }) => accountId),
  messages.map(({ id }) => id),
];
