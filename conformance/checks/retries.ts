import { EffectCount, expectSuccess, shown } from '../expectations.js';
import { expect } from '../finding.js';
import type { Answer } from '../http/exchange.js';
import { type Attempt, freshKey, send } from '../http/send.js';
import type { Subject } from '../subject.js';
import { isSuccess } from '../target.js';
import { sendFirst } from './first.js';

/** A pause between two attempts: short, so that a lease that ends is noticed soon. */
const RETRY_MS = 200;
/** Pause between two looks at the effects. */
const LOOK_MS = 5;
const MEASUREMENTS = 3;

export const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Retries until there is a success, as a client does that has not received a reply.
 *
 * @throws Failure if there is no success before `mayRetry` ends the attempts
 */
export async function retryUntilReplied(
  subject: Subject,
  attempt: Attempt,
  mayRetry: () => boolean,
  what: string,
): Promise<Answer> {
  const { target } = subject;
  for (;;) {
    const answer = await send(target, attempt);
    if (isSuccess(target, answer.status)) {
      expectSuccess(subject, answer, what);
      return answer;
    }
    const text = `expected a reply to ${what}, the last answer was ${shown(answer)}`;
    expect(mayRetry(), 'stuck key', text, answer);
    await pause(RETRY_MS);
  }
}

/** The time that an undisturbed request takes: the shortest of a few, so that a delay within it falls into the processing. */
export async function measure(subject: Subject, body: string): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < MEASUREMENTS; i++) {
    const startedAt = performance.now();
    await sendFirst(subject, { key: freshKey(subject.profile), body });
    times.push(performance.now() - startedAt);
  }
  return Math.min(...times);
}

/** Waits until a count of effects has reached a number, or until the signal ends the wait. */
export async function effectSeen(effects: EffectCount, count: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await effects.since([])) < count) await pause(LOOK_MS);
}
