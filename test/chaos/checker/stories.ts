import type { HistoryEvent, Operation, Reply } from '../history.js';

/** One operation with all its attempts. */
export interface Story {
  operation: Operation;
  attempts: Attempt[];
  /** The reply that was recorded before the run, if there is one. */
  recorded?: Extract<HistoryEvent, { type: 'recorded' }>;
}

export interface Attempt {
  invokedAt: number;
  endedAt: number;
  result?: 'ok' | 'fail' | 'info';
  reason?: string;
  reply?: Reply;
}

/** The story of each operation, by its id, with the attempts in order. */
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
        // An attempt without an end counts as `info`, because its outcome is not known.
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

/** The parts of a reply that must be the same in every reply and in the record. */
export const contentOf = ({ status, contentType, body }: Record<keyof Omit<Reply, 'replayed'>, unknown>) =>
  [status, contentType, body].join(' ');

/** The id of the charge that a request makes, which is derived from the request id. */
export const chargeIdOf = (requestId: string) => `ch_${requestId.replaceAll('-', '')}`;

/** The id of the refund that a request makes. */
export const refundIdOf = (requestId: string) => `re_${requestId.replaceAll('-', '')}`;

/** The operation of all refunds, as the service stores it with their keys. */
export const REFUND = 'POST /charges/:id/refunds';

/** Whether an operation refunds a charge. */
export const isRefund = ({ path }: Operation) => path.endsWith('/refunds');

/** The name of something within an account, as in the ids of operations. */
export const named = (account: string, name: string) => `${account}:${name}`;
