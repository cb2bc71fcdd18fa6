import { EffectCount, expectSame, shown, statusesText } from '../expectations.js';
import { expect, Skipped } from '../finding.js';
import type { Answer } from '../http/exchange.js';
import { freshKey, send } from '../http/send.js';
import type { Check, Subject } from '../subject.js';
import { isSuccess, successText } from '../target.js';
import { sendFirst } from './first.js';

/** Duplicates that are sent at once: enough that two of them race if the service does not claim keys atomically. */
const DUPLICATES = 24;
/** One storm in six of a real library with a race had one effect only, so one storm proves little. */
const STORMS = 8;

/** Sends duplicates at once, to the URLs in turn, and returns how many got the reply. */
async function storm(subject: Subject, urls: readonly string[]): Promise<number> {
  const { target, profile } = subject;
  const effects = await EffectCount.from(subject);
  const key = freshKey(profile);
  const what = `${DUPLICATES} duplicates at once`;
  const answers = await Promise.all(
    Array.from({ length: DUPLICATES }, (_, i) => send(target, { key, url: urls[i % urls.length] ?? target.url })),
  );
  const replies = answers.filter(({ status }) => isSuccess(target, status));
  await effects.expectNoMore(1, replies, what);
  expectAllowed(subject, answers, what);
  replies.forEach((answer) => expectSame(replies[0] as Answer, answer, 'a duplicate that was sent at the same time'));
  const later = await send(target, { key });
  expectSame(replies[0] as Answer, later, 'a later duplicate');
  await effects.expect(1, [...replies, later], what);
  return replies.length;
}

function expectAllowed({ target, profile }: Subject, answers: readonly Answer[], what: string): void {
  const refused = answers.filter(({ status }) => !isSuccess(target, status));
  const [anyRefusal] = refused;
  if (anyRefusal && refused.length === answers.length)
    expect(
      false,
      'stuck key',
      `expected at least one answer with ${successText(target)} to ${what}, got ${shown(anyRefusal)}`,
      anyRefusal,
    );
  const wrong = refused.find(({ status }) => !profile.inProgress.includes(status));
  if (!wrong) return;
  const allowed = profile.inProgress.length > 0 ? ` or ${statusesText(profile.inProgress)}` : '';
  expect(false, 'broken rule', `expected the reply${allowed} to each of ${what}, also got ${shown(wrong)}`, wrong);
}

async function storms(subject: Subject, urls: readonly string[]): Promise<string> {
  let replies = 0;
  for (let i = 0; i < STORMS; i++) replies += await storm(subject, urls);
  const all = STORMS * DUPLICATES;
  return `${STORMS} storms of ${DUPLICATES}, one effect each: ${replies} replies, ${all - replies} refused as in progress`;
}

export const duplicatesAtOnce: Check = {
  id: 'storm',
  title: 'many duplicates at once have one effect and one reply',
  run: (subject) => storms(subject, [subject.target.url]),
};

export const replicas: Check = {
  id: 'replicas',
  title: 'a duplicate that reaches another replica has no effect and gets the same reply',
  run: async (subject) => {
    const { target, profile } = subject;
    const { url, secondUrl } = target;
    if (secondUrl === undefined) throw new Skipped('no second replica was given: see --second-url');
    const effects = await EffectCount.from(subject);
    const key = freshKey(profile);
    const first = await sendFirst(subject, { key });
    const again = await send(target, { key, url: secondUrl });
    await effects.expectNoMore(1, [first, again], 'two requests with one key to two replicas');
    expectSame(first, again, 'a duplicate at the second replica');
    return storms(subject, [url, secondUrl]);
  },
};
