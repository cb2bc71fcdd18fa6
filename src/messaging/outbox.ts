import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { inTransaction } from '../postgres/transaction.js';
import type { Message } from './message.js';
import { MessagingEvents } from './messaging.events.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import { BACKLOG, LOCK_DUE, MARK_PUBLISHED, POSTPONE } from './messaging.sql.js';

/** Between two tries of a message that cannot be published: a bus that is back is noticed this fast. */
const LONGEST_DELAY_SECONDS = 60;

/** The messages to be published. Features append theirs in their own statements, by `appendToOutbox`. */
@Injectable()
export class Outbox {
  constructor(
    private readonly dataSource: DataSource,
    private readonly events: MessagingEvents,
    @Inject(MESSAGING_OPTIONS) private readonly options: MessagingOptions,
  ) {}

  /**
   * Publishes up to `limit` messages that are due, the longest waiting first. They are locked while `publish` is at it, so that
   * another relay gets others; should this one die, its connection ends with it, and others get these.
   *
   * @param publish returns the messages that are published; the others are put off, longer after each time
   * @returns how many were due, and how many are published
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
        const [done, kept] = [[...published], messages.filter((message) => !published.has(message))];
        // Should this fail, they are published again: at least once.
        if (done.length > 0)
          await sql.query({ name: 'messaging_published', text: MARK_PUBLISHED, values: keysOf(done) });
        if (kept.length > 0) {
          const delays = [this.options.retryMs / 1000, LONGEST_DELAY_SECONDS];
          await sql.query({ text: POSTPONE, values: [...keysOf(kept), ...delays] });
        }
        return { due: messages.length, published: done.length };
      },
      { attempts: 1 },
    );
    if (batch.published > 0) this.events.next({ type: 'published', messages: batch.published });
    return batch;
  }

  /** What waits. */
  async backlog(): Promise<Backlog> {
    const [backlog] = await this.dataSource.query<Backlog[]>(BACKLOG);
    if (!backlog) throw new Error('A SELECT without FROM returned no row');
    return backlog;
  }
}

/** Messages that have not taken effect yet, of all accounts. */
export interface Backlog {
  /** Since the oldest message was appended that is not published; 0 when there is none. */
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
