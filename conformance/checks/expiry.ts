import { EffectCount, isSame, shown, statusesText } from '../expectations.js';
import { expect, Failure, evidenceOf, Skipped, Undecided } from '../finding.js';
import type { Answer } from '../http/exchange.js';
import { freshKey, send } from '../http/send.js';
import type { Check, Subject } from '../subject.js';
import { isSuccess } from '../target.js';
import { sendFirst } from './first.js';
import { pause } from './retries.js';

/** Keys that are used while they expire. */
const KEYS = 3;
/** Clients that send one key again and again while it expires. */
const CLIENTS = 4;
/** Requests that arrive at once after a key has expired. */
const AT_ONCE = 10;
/** How long before the expiry the clients begin, because the service may count from the claim and the kit counts from the reply. */
const EARLY_MS = 300;
/** How long after the expiry the clients end: a service may delete expired keys once in a while. */
const LATE_MS = 3_000;
const PAUSE_MS = 5;

interface Key {
  readonly key: string;
  readonly first: Answer;
  readonly repliedAt: number;
}

async function openKey(subject: Subject): Promise<Key> {
  const key = freshKey(subject.profile);
  return { key, first: await sendFirst(subject, { key }), repliedAt: performance.now() };
}

function expectAllowed({ target, profile }: Subject, answer: Answer, what: string): void {
  const { inProgress } = profile;
  expect(
    isSuccess(target, answer.status) || inProgress.includes(answer.status),
    'broken rule',
    `expected a reply${inProgress.length > 0 ? ` or ${statusesText(inProgress)}` : ''} to ${what}, got ${shown(answer)}`,
    answer,
  );
}

const isNewReply = ({ target }: Subject, { first }: Key, answer: Answer) =>
  isSuccess(target, answer.status) && !isSame(first, answer);

/** Sends one key from before its expiry until there is a new reply, or until the key should have expired long ago. */
async function sendAcross(subject: Subject, key: Key, ttlMs: number): Promise<Answer> {
  await pause(Math.max(0, key.repliedAt + ttlMs - EARLY_MS - performance.now()));
  const lateMs = Math.max(LATE_MS, ttlMs / 2);
  for (;;) {
    const answer = await send(subject.target, { key: key.key });
    expectAllowed(subject, answer, 'a key that expires');
    if (isNewReply(subject, key, answer)) return answer;
    if (performance.now() > key.repliedAt + ttlMs + lateMs) return answer;
    await pause(PAUSE_MS);
  }
}

function expectUsable(subject: Subject, answers: readonly Answer[], what: string): void {
  const [answer] = answers;
  if (!answer || answers.some(({ status }) => isSuccess(subject.target, status))) return;
  throw new Failure('stuck key', `expected a reply to ${what}, got ${shown(answer)}`, evidenceOf(answer));
}

export const expiry: Check = {
  id: 'expiry',
  title: 'requests at the edge of expiry have one new effect together',
  run: async (subject) => {
    const { target } = subject;
    const { ttlMs } = target;
    if (ttlMs === undefined) throw new Skipped('the lifetime of a key was not given: see --ttl');
    const effects = await EffectCount.from(subject);
    if (!effects.isExact) throw new Undecided('without --effects, a second effect of a key would not be seen');
    const keys = await Promise.all(Array.from({ length: KEYS }, () => openKey(subject)));
    const last = await openKey(subject);
    subject.progress(`waits ${Math.round(ttlMs / 1000)} s for ${KEYS + 1} keys to expire`);

    const across = await Promise.all(
      keys.map(async (key) => ({
        key,
        answers: await Promise.all(Array.from({ length: CLIENTS }, () => sendAcross(subject, key, ttlMs))),
      })),
    );
    across.forEach(({ answers }) => expectUsable(subject, answers, 'a key that has expired'));
    const everyAnswer = across.flatMap(({ answers }) => answers);
    const what = `${KEYS} keys that ${CLIENTS} clients each sent while they expired, and of one key that waits`;
    await effects.expectNoMore(2 * KEYS + 1, everyAnswer, what);
    if (!across.every(({ key, answers }) => answers.some((answer) => isNewReply(subject, key, answer))))
      throw new Undecided(`the keys had not expired ${Math.round(ttlMs / 1000)} s after their replies: see --ttl`);

    // The last key was used last, so it may expire later than the others.
    await pause(Math.max(0, last.repliedAt + ttlMs + EARLY_MS - performance.now()));
    const atOnce = await Promise.all(Array.from({ length: AT_ONCE }, () => send(target, { key: last.key })));
    await effects.expectNoMore(2 * KEYS + 2, atOnce, `${what}, and of ${AT_ONCE} requests at once with an expired key`);
    atOnce.forEach((answer) =>
      expectAllowed(subject, answer, `one of ${AT_ONCE} requests at once with an expired key`),
    );
    expectUsable(subject, atOnce, 'an expired key');
    return effects.expect(2 * (KEYS + 1), atOnce, `${KEYS + 1} keys that were used again after they had expired`);
  },
};
