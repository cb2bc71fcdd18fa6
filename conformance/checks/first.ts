import { expectSuccess } from '../expectations.js';
import type { Answer } from '../http/exchange.js';
import { type Attempt, send } from '../http/send.js';
import type { Subject } from '../subject.js';

/** Sends the first request of a check, which must succeed. */
export async function sendFirst(subject: Subject, attempt: Attempt): Promise<Answer> {
  const first = await send(subject.target, attempt);
  expectSuccess(subject, first, 'a first request');
  return first;
}
