import { EffectCount, expectSame, expectSuccess, shown } from '../expectations.js';
import { expect, Skipped } from '../finding.js';
import { freshKey, send } from '../http/send.js';
import type { Check } from '../subject.js';
import { isSuccess } from '../target.js';

const isRefusal = (status: number) => status >= 400 && status < 500;

export const refusal: Check = {
  id: 'refusal',
  title: 'a final refusal is replayed like a success',
  run: async ({ target, profile }) => {
    const { refusedBody } = target;
    if (refusedBody === undefined) throw new Skipped('no body with a final refusal was given: see --refused-body');
    const key = freshKey(profile);
    const first = await send(target, { key, body: refusedBody });
    expect(isRefusal(first.status), 'broken rule', `expected 4xx for the refused body, got ${shown(first)}`, first);
    const again = await send(target, { key, body: refusedBody });
    expectSame(first, again, 'the refused request, sent again');
    return `${first.status}`;
  },
};

export const invalidBody: Check = {
  id: 'invalid-body',
  title: 'after an invalid body, the same key can be used with the corrected body, which has its effect',
  run: async (subject) => {
    const { target, profile } = subject;
    if (!profile.invalidBodyLeavesKeyUnused)
      throw new Skipped('the profile leaves the key of an invalid body to the service');
    if (target.invalidBody === undefined) throw new Skipped('no invalid body was given: see --invalid-body');
    const effects = await EffectCount.from(subject);
    const key = freshKey(profile);
    const invalid = await send(target, { key, body: target.invalidBody });
    expect(
      isRefusal(invalid.status),
      'broken rule',
      `expected 4xx for the invalid body, got ${shown(invalid)}`,
      invalid,
    );
    const corrected = await send(target, { key });
    if (effects.isExact && isSuccess(target, corrected.status))
      await effects.expect(1, [corrected], 'an invalid body and its correction');
    expectSuccess(subject, corrected, 'the corrected body with the same key');
    return `${invalid.status}, then a success`;
  },
};
