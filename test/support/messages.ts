import { jest } from '@jest/globals';
import { Module, type Type } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { type Consumer, Consumers, type Message } from '../../src/messaging/index.js';
import type { TestDatabase } from './database.js';

/** A consumer that counts how often it processed each message, so that a test notices a second effect. */
export interface Counter extends Consumer {
  /** Runs in the transaction of each batch, before the work. */
  before: (tx: EntityManager, messages: readonly Message[]) => unknown;
  /** Runs in the transaction of each batch, after the work. */
  after: () => unknown;
  /** The size of each batch that the consumer got, including batches that failed. */
  batches: number[];
}

/** Creates the table in which the consumers of tests count how often they processed each message. */
export const createCounts = ({ sql }: TestDatabase) =>
  sql(`
    CREATE TABLE counts (
      account_id text, consumer text, message_id text, times int NOT NULL, PRIMARY KEY (account_id, consumer, message_id))`);

/** @param type of the messages that the consumer handles */
export function counter(name: string, type = 'marble.counted'): Counter {
  const self: Counter = {
    name,
    types: [type],
    before: () => undefined,
    after: () => undefined,
    batches: [],
    handle: async (tx, messages) => {
      self.batches.push(messages.length);
      await self.before(tx, messages);
      for (const { accountId, id } of messages) {
        await tx.query(
          `INSERT INTO counts VALUES ($1, $2, $3, 1)
           ON CONFLICT (account_id, consumer, message_id) DO UPDATE SET times = counts.times + 1`,
          [accountId, name, id],
        );
      }
      await self.after();
    },
  };
  return self;
}

/** Returns a feature module that registers these consumers. */
export function featureOf(...consumers: Consumer[]): Type {
  @Module({})
  class Feature {
    constructor(registry: Consumers) {
      consumers.forEach((consumer) => registry.register(consumer));
    }
  }
  return Feature;
}

export const message = (n: number | string, accountId = 'acct_a', type = 'marble.counted'): Message => ({
  accountId,
  id: `${type}.${n}`,
  type,
  data: { n },
  createdAt: new Date('2026-01-01T00:00:00Z'),
});

/** Appends fresh messages, as a feature does. */
export async function appendFresh(database: TestDatabase, messages: Message[]): Promise<void> {
  await append(database, messages);
  await database.sql('UPDATE outbox SET available_at = NULL');
}

/** Inserts messages into the outbox that were released for the bus, and have been due for `secondsAgo` seconds. */
export async function append({ sql }: TestDatabase, messages: Message[], secondsAgo = 0): Promise<void> {
  await sql(
    `INSERT INTO outbox (account_id, id, type, data, created_at, available_at)
     SELECT account_id, id, type, data, clock_timestamp(), clock_timestamp() - make_interval(secs => $2)
     FROM jsonb_to_recordset($1::jsonb) AS m (account_id text, id text, type text, data jsonb)`,
    [JSON.stringify(messages.map(({ accountId, ...rest }) => ({ account_id: accountId, ...rest }))), secondsAgo],
  );
}

/** Returns how often the consumer processed each message. */
export async function counts({ sql }: TestDatabase, consumer: string): Promise<Record<string, number>> {
  const rows = await sql<{ name: string; times: number }>(
    `SELECT account_id || ' ' || message_id AS name, times FROM counts WHERE consumer = $1 ORDER BY 1`,
    [consumer],
  );
  return Object.fromEntries(rows.map(({ name, times }) => [name, times]));
}

/** Returns the {@link counts} of messages that were each processed once. */
export const once = (messages: readonly Message[]): Record<string, number> =>
  Object.fromEntries(messages.map(({ accountId, id }) => [`${accountId} ${id}`, 1] as const).sort());

/** Empties the counts, and removes the failures that a test has put into the consumers. */
export async function resetCounts({ sql }: TestDatabase, consumers: readonly Counter[]): Promise<void> {
  await sql('TRUNCATE counts');
  for (const consumer of consumers) {
    consumer.before = consumer.after = () => undefined;
    consumer.batches.length = 0;
  }
}

/**
 * Stops `performance.now()` in this process until `jest.restoreAllMocks()`. The inbox has a deadline for splitting a batch, and a busy machine
 * could reach that deadline after a few transactions.
 */
export const stopTheClock = () => void jest.spyOn(performance, 'now').mockReturnValue(performance.now());

/** Makes the consumer fail for every batch that contains one of these messages. */
export function failAt(consumer: Counter, ...names: number[]): void {
  consumer.before = (_, messages) => {
    const bad = messages.find(({ data }) => names.includes((data as { n: number }).n));
    if (bad) throw new Error(`no marble ${bad.id}`);
  };
}
