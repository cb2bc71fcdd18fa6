import { EffectCount, expectSame, expectSuccess, shown, statusesText } from '../expectations.js';
import { expect, Skipped } from '../finding.js';
import type { Answer } from '../http/exchange.js';
import { freshKey, send } from '../http/send.js';
import type { Profile } from '../profiles.js';
import type { Check } from '../subject.js';
import { sendFirst } from './first.js';

export const missingKey: Check = {
  id: 'missing-key',
  title: 'a request without a key is refused or accepted, as documented',
  run: async (subject) => {
    const { target, profile } = subject;
    const wanted = profile.missingKey;
    const effects = await EffectCount.from(subject);
    const answers = [await send(target, {}), await send(target, {})] as const;
    if (wanted === 'accepted') {
      answers.forEach((answer) => expectSuccess(subject, answer, 'a request without a key'));
      return effects.expect(2, answers, 'two requests without a key');
    }
    for (const answer of answers)
      expect(
        wanted.includes(answer.status),
        'broken rule',
        `expected ${statusesText(wanted)} for a request without a key, got ${shown(answer)}`,
        answer,
      );
    if (effects.isExact) await effects.expect(0, answers, 'requests without a key');
    return `${answers[0].status}`;
  },
};

/** Malformed keys, by what is wrong with them. */
function malformedKeys({ badKeys, maxKeyLength, quotesKeys }: Profile): [string, string | readonly string[]][] {
  const tooLong = 'k'.repeat((maxKeyLength ?? 0) + 1);
  return [
    ...Object.entries(badKeys),
    ...(maxKeyLength === undefined ? [] : [['too long', quotesKeys ? `"${tooLong}"` : tooLong] as [string, string]]),
  ];
}

export const malformedKey: Check = {
  id: 'malformed-key',
  title: 'a malformed key is refused and has no effect',
  run: async (subject) => {
    const { target, profile } = subject;
    const keys = malformedKeys(profile);
    if (keys.length === 0) throw new Skipped('the profile does not define malformed keys: see --max-key-length');
    const effects = await EffectCount.from(subject);
    const answers: Answer[] = [];
    for (const [name, key] of keys) {
      const answer = await send(target, { key });
      expect(
        profile.malformedKey.includes(answer.status),
        'broken rule',
        `expected ${statusesText(profile.malformedKey)} for a malformed key (${name}), got ${shown(answer)}`,
        answer,
      );
      answers.push(answer);
    }
    if (effects.isExact) await effects.expect(0, answers, 'malformed keys');
    return keys.map(([name]) => name).join(', ');
  },
};

export const quotedKey: Check = {
  id: 'quoted-key',
  title: 'a key with and without double quotes is the same key',
  run: async (subject) => {
    const { target, profile } = subject;
    if (!profile.quotedIsBare) throw new Skipped('the profile does not treat quoted and bare keys as the same');
    const effects = await EffectCount.from(subject);
    const key = freshKey({ ...profile, quotesKeys: false });
    const first = await sendFirst(subject, { key });
    const quoted = await send(target, { key: `"${key}"` });
    await effects.expectNoMore(1, [first, quoted], 'two requests with a bare and a quoted key');
    expectSame(first, quoted, 'the quoted key');
    return effects.expect(1, [first, quoted], 'two requests with a bare and a quoted key');
  },
};
