import type { DataSource } from 'typeorm';
import { isLockTimeout, sqlState } from '../postgres/database-errors.js';
import { nameWithin } from '../postgres/lock-order.js';
import { AWAIT_STANDBYS } from '../postgres/replication.js';
import { inTransaction, isOutage } from '../postgres/transaction.js';
import { concerning, type Consumer } from './bus.js';
import type { Message } from './message.js';
import { RECEIVE, SHORT_LOCK_TIMEOUT } from './messaging.sql.js';

/** Result of one transaction over a batch. */
export type BatchResult =
  /** `outcomes` has the outcome of each message, in order. */
  { kind: 'committed'; outcomes: ('processed' | 'dead')[] } | Failure;

/** The transaction rolled back, or the answer to its COMMIT was lost. */
export interface Failure {
  kind: FailureKind;
  error: unknown;
}

/**
 * `row locked`: another transaction held a row for longer than `lock_timeout`. `database unavailable`: the database failed, or the
 * answer to COMMIT was lost. `consumer failed`: at least one message of the batch is to blame.
 */
export type FailureKind = 'row locked' | 'database unavailable' | 'consumer failed';

export interface BatchOptions {
  /** Whether dead letters are skipped, as in deliveries of the bus, or processed once more, as in a redelivery. */
  deadLetters: 'skip' | 'process';
  /** How long a statement waits for a locked row: as long as the server allows, or {@link SHORT_LOCK_TIMEOUT}. */
  lockTimeout: 'default' | 'short';
}

const QUERY_CANCELED = '57014';

/**
 * Processes a batch in one transaction. The transaction inserts each message into `processed_messages` and runs the consumer on the
 * messages that were new there, so a message that is delivered again meets the unique constraint and has no second effect.
 */
export async function processBatch(
  dataSource: DataSource,
  consumer: Consumer,
  messages: readonly Message[],
  { deadLetters, lockTimeout }: BatchOptions,
): Promise<BatchResult> {
  try {
    const concerned = concerning(consumer, messages);
    if (concerned.length === 0) return { kind: 'committed', outcomes: messages.map(() => 'processed') };
    const accountIds = concerned.map(({ accountId }) => accountId);
    const ids = concerned.map(({ id }) => id);
    const values = [consumer.name, accountIds, ids, deadLetters === 'process'];
    const dead = await inTransaction(dataSource, async (tx) => {
      if (lockTimeout === 'short') await tx.sql.query(SHORT_LOCK_TIMEOUT);
      const { rows } = await tx.sql.query({ name: 'messaging_receive', text: RECEIVE, values });
      const { newNames, deadNames } = namesIn(rows as unknown as ReceivedRow[]);
      // `delete` returns true once for each name, so a message that is in the batch twice is processed once.
      const newMessages = concerned.filter((message) => newNames.delete(nameOf(message)));
      if (newMessages.length > 0) await consumer.handle(tx.manager, newMessages);
      // The bus will not deliver a message that was processed before again, so its row in the inbox must be replicated.
      if (newMessages.length < concerned.length) await tx.sql.query(`SELECT ${AWAIT_STANDBYS}`);
      return deadNames;
    });
    return {
      kind: 'committed',
      outcomes: messages.map((message) => (dead.has(nameOf(message)) ? 'dead' : 'processed')),
    };
  } catch (error) {
    return { kind: kindOf(error), error };
  }
}

/**
 * Decides whether a message or the database is to blame for an error. A cancelled statement counts against the message, because
 * that statement has probably exceeded `statement_timeout` and would exceed it again.
 */
export function kindOf(error: unknown): FailureKind {
  if (isLockTimeout(error)) return 'row locked';
  return isOutage(error) && sqlState(error) !== QUERY_CANCELED ? 'database unavailable' : 'consumer failed';
}

/** A row for each message that is new to the consumer, and for each dead letter that was skipped. */
interface ReceivedRow {
  account_id: string;
  message_id: string;
  is_dead: boolean;
}

const nameOf = ({ accountId, id }: Message) => nameWithin(accountId, id);

function namesIn(rows: readonly ReceivedRow[]): { newNames: Set<string>; deadNames: Set<string> } {
  const [newNames, deadNames] = [new Set<string>(), new Set<string>()];
  for (const { account_id, message_id, is_dead } of rows) {
    (is_dead ? deadNames : newNames).add(nameWithin(account_id, message_id));
  }
  return { newNames, deadNames };
}
