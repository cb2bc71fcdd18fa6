import type { EntityManager } from 'typeorm';
import type { Message } from './message.js';
import { RECEIVE } from './messaging.sql.js';

/** The name of a message within its consumer. */
export type MessageName = Pick<Message, 'accountId' | 'id'>;

/**
 * Inserts messages into the inbox, in the transaction of their work. Use it for messages that do not come from the outbox, such as the events of
 * another system. A concurrent transaction with the same message waits here until this transaction ends.
 *
 * @param consumer the name of a consumer, which no consumer of the bus has
 * @returns the number of messages that the consumer had not received before
 */
export async function receive(tx: EntityManager, consumer: string, messages: readonly MessageName[]): Promise<number> {
  const names = [messages.map(({ accountId }) => accountId), messages.map(({ id }) => id)];
  return (await tx.query<unknown[]>(RECEIVE, [consumer, ...names, false])).length;
}
