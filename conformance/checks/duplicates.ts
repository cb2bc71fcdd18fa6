import { EffectCount, expectSame, expectSuccess } from '../expectations.js';
import { expect, Skipped } from '../finding.js';
import { freshKey, send } from '../http/send.js';
import type { Check } from '../subject.js';
import { sendFirst } from './first.js';

/** Headers that a proxy or another version of the client changes between two attempts. */
const OF_ANOTHER_ATTEMPT = [
  ...['User-Agent', 'another-client/2'],
  ...['X-Request-Id', 'another-attempt'],
  ...['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
];

export const duplicate: Check = {
  id: 'duplicate',
  title: 'a duplicate has no effect and gets the same reply',
  run: async (subject) => {
    const { target, profile } = subject;
    const effects = await EffectCount.from(subject);
    const key = freshKey(profile);
    const first = await sendFirst(subject, { key });
    const again = [await send(target, { key }), await send(target, { key })];
    // The effects are counted first, because a second effect is worse than a different reply.
    await effects.expectNoMore(1, [first, ...again], 'three requests with one key');
    again.forEach((answer) => expectSame(first, answer, 'a duplicate'));
    return effects.expect(1, [first, ...again], 'three requests with one key');
  },
};

export const anotherKey: Check = {
  id: 'another-key',
  title: 'the same body with another key is a new request',
  run: async (subject) => {
    const { target, profile } = subject;
    const effects = await EffectCount.from(subject);
    const answers = [await send(target, { key: freshKey(profile) }), await send(target, { key: freshKey(profile) })];
    answers.forEach((answer) => expectSuccess(subject, answer, 'a request with a new key'));
    return effects.expect(2, answers, 'two requests with two keys');
  },
};

export const otherHeaders: Check = {
  id: 'other-headers',
  title: 'a duplicate with another User-Agent and trace gets the same reply',
  run: async (subject) => {
    const { target, profile } = subject;
    const effects = await EffectCount.from(subject);
    const key = freshKey(profile);
    const first = await sendFirst(subject, { key });
    const again = await send(target, { key, headers: OF_ANOTHER_ATTEMPT });
    await effects.expectNoMore(1, [first, again], 'two requests that differ in such headers');
    expectSame(first, again, 'a duplicate with another User-Agent, X-Request-Id and traceparent');
    return effects.expect(1, [first, again], 'two requests that differ in such headers');
  },
};

export const replayHeader: Check = {
  id: 'replay-header',
  title: 'a replayed reply is marked by the replay header, and a first reply is not',
  run: async (subject) => {
    const { target, profile } = subject;
    if (!profile.replayHeader) throw new Skipped('the profile has no replay header: see --replay-header');
    const [name, value] = profile.replayHeader;
    const key = freshKey(profile);
    const first = await sendFirst(subject, { key });
    const again = await send(target, { key });
    const [before, after] = [first.headers[name], again.headers[name]];
    expect(before !== value, 'broken rule', `expected a first reply without ${name}: ${value}`, first);
    expect(
      after === value,
      'broken rule',
      `expected ${name}: ${value} on a replayed reply, got ${String(after)}`,
      again,
    );
    return `${name}: ${value}`;
  },
};
