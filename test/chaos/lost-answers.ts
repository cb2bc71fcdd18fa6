import type { HistoryEvent } from './history.js';

/**
 * The numbers of the attempts whose final answer was lost: a later attempt of the same operation got another answer.
 * Operations whose answer may change are left out: orders without a key, and keys that expire during the run.
 */
export function lostAnswers(history: readonly HistoryEvent[]): ReadonlySet<number> {
  const constant = new Set<string>();
  const operations = new Map<number, string>();
  const lastBodies = new Map<string, string>();
  const operationOf = ({ attempt }: { attempt: number }) => operations.get(attempt) ?? '';
  for (const event of history) {
    if (event.type === 'operation' && event.operation.key !== undefined) constant.add(event.operation.id);
    if (event.type === 'recorded') constant.delete(event.operation);
    if (event.type === 'invoke') operations.set(event.attempt, event.operation);
    if (event.type === 'ok') lastBodies.set(operationOf(event), event.reply.body);
  }
  const answers = history.filter((event) => event.type === 'ok');
  const isLost = (event: (typeof answers)[number]) =>
    constant.has(operationOf(event)) && event.reply.body !== lastBodies.get(operationOf(event));
  return new Set(answers.filter(isLost).map(({ attempt }) => attempt));
}
