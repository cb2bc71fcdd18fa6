import { Inject, Injectable } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { inTransaction } from '../postgres/transaction.js';
import type { Delivery } from './bus.js';
import type { Message } from './message.js';
import { MessagingEvents } from './messaging.events.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import {
  BACKLOG,
  LOCK_DUE,
  MARK_PUBLISHED,
  POSTPONE,
  RELEASE_FRESH,
  SHORT_LOCK_TIMEOUT,
  TAKE_FRESH,
} from './messaging.sql.js';

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
   * Deletes up to `limit` fresh messages in the transaction of their effects. The invariant: a fresh message is deleted if and
   * only if it took effect. So the inbox does not have to record it.
   *
   * @param deliver applies the effects through `tx`. If it throws, the transaction rolls back, and the messages stay fresh.
   * @returns the number of messages that took effect; 0 if another relay is taking fresh messages
   */
  async deliverFresh(
    limit: number,
    deliver: (tx: EntityManager, messages: readonly Message[]) => Promise<readonly Delivery[]>,
  ): Promise<number> {
    const { messages, deliveries } = await inTransaction(
      this.dataSource,
      async ({ sql, manager }) => {
        const { rows } = await sql.query({ name: 'messaging_take_fresh', text: TAKE_FRESH, values: [limit] });
        const messages = (rows as unknown as OutboxRow[]).map(messageOf);
        if (messages.length === 0) return { messages, deliveries: [] };
        // A row that is locked for long belongs to one account. The messages of other accounts must not wait for it.
        await sql.query(SHORT_LOCK_TIMEOUT);
        return { messages, deliveries: await deliver(manager, messages) };
      },
      { attempts: 1 },
    );
    if (messages.length > 0) this.events.next({ type: 'published', messages: messages.length });
    for (const { consumer, messages } of deliveries)
      this.events.announce(
        consumer,
        messages.map(() => 'processed'),
      );
    return messages.length;
  }

  /**
   * Releases up to `limit` fresh messages for {@link publishDue}. The release is committed before the first of them is published, because
   * {@link deliverFresh} must never take a published message: it would deliver the message a second time without asking the inbox.
   *
   * @returns the number of messages
   */
  async releaseFresh(limit: number): Promise<number> {
    const statement = { name: 'messaging_release_fresh', text: RELEASE_FRESH, values: [limit] };
    return (await inTransaction(this.dataSource, ({ sql }) => sql.query(statement))).rowCount ?? 0;
  }

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
