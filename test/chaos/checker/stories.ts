import type { HistoryEvent, Operation, Reply } from '../history.js';

/** What is known of one operation. */
export interface Story {
  operation: Operation;
  attempts: Attempt[];
  /** Of a reply that was there before the run. */
  recorded?: Extract<HistoryEvent, { type: 'recorded' }>;
}

export interface Attempt {
  invokedAt: number;
  endedAt: number;
  result?: 'ok' | 'fail' | 'info';
  reason?: string;
  reply?: Reply;
}

/** What happened to each operation, in order. */
export function storiesOf(history: readonly HistoryEvent[]): Map<string, Story> {
  const stories = new Map<string, Story>();
  const attempts = new Map<number, Attempt>();
  for (const event of history) {
    switch (event.type) {
      case 'operation':
        stories.set(event.operation.id, { operation: event.operation, attempts: [] });
        break;
      case 'recorded':
        Object.assign(stories.get(event.operation) ?? {}, { recorded: event });
        break;
      case 'invoke': {
        // Without an end it was never heard of again, which is as if it ended now: nobody knows.
        const attempt: Attempt = { invokedAt: event.at, endedAt: Infinity };
        attempts.set(event.attempt, attempt);
        stories.get(event.operation)?.attempts.push(attempt);
        break;
      }
      case 'ok':
      case 'fail':
      case 'info': {
        const ending = { endedAt: event.at, result: event.type };
        const seen = event.type === 'ok' ? { reply: event.reply } : { reason: event.reason };
        Object.assign(attempts.get(event.attempt) ?? {}, ending, seen);
        break;
      }
      case 'fault':
      case 'phase':
    }
  }
  return stories;
}

/** The attempts of an operation that had a final answer. */
export const acknowledged = ({ attempts }: Story) =>
  attempts.flatMap((attempt) => (attempt.reply ? [{ ...attempt, reply: attempt.reply }] : []));

/** What must be the same in every reply, and on record. */
export const contentOf = ({ status, contentType, body }: Record<keyof Omit<Reply, 'replayed'>, unknown>) =>
  [status, contentType, body].join(' ');

/** The charge of a request, by the request's id. */
export const chargeIdOf = (requestId: string) => `ch_${requestId.replaceAll('-', '')}`;

/** What an account calls its own, in one text, as operations are named. */
export const named = (account: string, name: string) => `${account}:${name}`;
