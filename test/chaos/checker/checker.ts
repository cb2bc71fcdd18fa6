import type { Evidence } from '../evidence.js';
import {
  checkBank,
  checkBooks,
  checkEvents,
  checkFinished,
  checkMessages,
  checkRecords,
  checkRefunds,
  checkStock,
} from './books.js';
import {
  checkAnswered,
  checkAskedFor,
  checkCharge,
  checkFailures,
  checkOrder,
  checkRecord,
  checkRecorded,
  checkRefund,
} from './effects.js';
import { checkReplies } from './replies.js';
import { isRefund, storiesOf } from './stories.js';
import type { Report, Verdict, Violation } from './verdict.js';

/** Returns the verdict on a run. It depends only on the history of the clients, the database and the journal of the bank. */
export function check(evidence: Evidence): Verdict {
  const violations: Violation[] = [];
  const report: Report = (invariant, about) => void violations.push({ invariant, about });
  const stories = [...storiesOf(evidence.history).values()];
  const { history, healed, end, crashed, initialStock } = evidence;
  const resentAt = history.find((event) => event.type === 'phase' && event.name === 'resend')?.at;
  for (const story of stories) checkReplies(story, stories, report);
  for (const replica of crashed)
    report('as documented', `replica ${replica}: stopped although no fault had stopped it`);
  if (healed) {
    checkFinished(healed.database, 'once healed', report);
    checkRecords(healed.database, report);
    for (const story of stories) {
      checkFailures(story, healed, resentAt ?? Infinity, report);
      checkRecorded(story, healed.database, report);
    }
  }
  if (end) {
    checkFinished(end.database, 'in the end', report);
    for (const story of stories) {
      if (story.operation.path === '/charges') checkCharge(story, end, report);
      else if (isRefund(story.operation)) checkRefund(story, end, report);
      else checkOrder(story, end.database, report);
      checkRecord(story, end.database, report);
      checkRecorded(story, end.database, report);
      checkAnswered(story, resentAt ?? 0, report);
    }
    checkAskedFor(stories, end.database, report);
    checkRecords(end.database, report);
    checkBank(end, report);
    checkBooks(end, report);
    checkRefunds(end, report);
    checkStock(end.database, initialStock, report);
    checkMessages(end.database, evidence, report);
    if (evidence.isReported) checkEvents(end, report);
  }
  const doubts = doubtsOf(evidence);
  const verdict = violations.length > 0 ? 'invalid' : doubts.length > 0 ? 'unknown' : 'valid';
  const attempts = stories.flatMap((story) => story.attempts);
  const count = (result: string) => attempts.filter((attempt) => (attempt.result ?? 'info') === result).length;
  const counts = { ok: count('ok'), fail: count('fail'), info: count('info') };
  return { verdict, violations, doubts, counts: { keys: stories.length, attempts: attempts.length, ...counts } };
}

/** The reasons why a run without a violation is `unknown` and not `valid`. */
function doubtsOf({ history, healed, end, faults }: Evidence): string[] {
  const landed = new Set<string>();
  for (const event of history) if (event.type === 'fault' && event.state === 'landed') landed.add(event.kind);
  const hasEnded = history.some((event) => event.type === 'phase' && event.name === 'end');
  return [
    ...(healed && end ? [] : ['the database or the journal could not be read']),
    ...(hasEnded ? [] : ['the run did not come to its end']),
    ...faults.filter((kind) => !landed.has(kind)).map((kind) => `${kind} never landed`),
  ];
}
