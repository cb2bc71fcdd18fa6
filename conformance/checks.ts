import { type Check, EffectCount, expect, expectId, expectSame, expectSuccess, Unknown } from './finding.js';
import { type Answer, freshKey, send, sendAndHangUp, type Target } from './target.js';

/** Duplicates that are sent at once: enough that two of them race if the service does not claim keys atomically. */
const STORM = 24;
/** Attempts after a client has hung up, and the pause between them. Together they take longer than one request. */
const RETRIES = 50;
const RETRY_MS = 200;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function sendFirst(target: Target, key: string): Promise<Answer> {
  const first = await send(target, { key });
  expectSuccess(target, first, 'a first request');
  return first;
}

/** The same JSON with other white space and with the members of every object in reverse order. */
const reorder = (body: unknown) =>
  JSON.stringify(
    body,
    (_, value: unknown) =>
      value !== null && typeof value === 'object' && !Array.isArray(value)
        ? Object.fromEntries(Object.entries(value).reverse())
        : value,
    2,
  );

/** All checks, in the order of the report. To add a check, add an entry. */
export const CHECKS: readonly Check[] = [
  {
    id: 'duplicate',
    title: 'a duplicate has no effect and gets the same reply',
    run: async (target, profile) => {
      const effects = await EffectCount.from(target);
      const key = freshKey(profile);
      const first = await sendFirst(target, key);
      const again = [await send(target, { key }), await send(target, { key })];
      again.forEach((answer) => expectSame(first, answer, 'a duplicate'));
      return effects.expect(1, [first, ...again], 'three requests with one key');
    },
  },
  {
    id: 'another-key',
    title: 'the same body with another key is a new request',
    run: async (target, profile) => {
      const effects = await EffectCount.from(target);
      const answers = [await send(target, { key: freshKey(profile) }), await send(target, { key: freshKey(profile) })];
      answers.forEach((answer) => expectSuccess(target, answer, 'a request with a new key'));
      return effects.expect(2, answers, 'two requests with two keys');
    },
  },
  {
    id: 'replay-header',
    title: 'a replayed reply has the replay header, and a first reply does not',
    run: async (target, profile) => {
      const { replayHeader } = profile;
      if (!replayHeader) throw new Unknown('this profile has no replay header');
      const [name, value] = replayHeader;
      const key = freshKey(profile);
      const first = await sendFirst(target, key);
      const again = await send(target, { key });
      expect(first.headers[name] === undefined, `expected a first reply without ${name}`);
      expect(
        again.headers[name] === value,
        `expected ${name}: ${value} on a replayed reply, got ${String(again.headers[name])}`,
      );
      return `${name}: ${value}`;
    },
  },
  {
    id: 'storm',
    title: 'many duplicates at once have one effect and one reply',
    run: async (target, profile) => {
      const { inProgress } = profile;
      const effects = await EffectCount.from(target);
      const key = freshKey(profile);
      const answers = await Promise.all(Array.from({ length: STORM }, () => send(target, { key })));
      const replies = answers.filter(({ status }) => target.success.includes(status));
      const refused = answers.filter(({ status }) => !target.success.includes(status));
      const statuses = [...new Set(refused.map(({ status }) => status))];
      expect(replies.length > 0, `expected at least one success among ${STORM} duplicates, got ${statuses.join(', ')}`);
      const wrong = statuses.filter((status) => !inProgress.includes(status));
      const allowed = inProgress.length > 0 ? ` or ${inProgress.join(', ')}` : '';
      expect(
        wrong.length === 0,
        `expected the reply${allowed} for each of ${STORM} duplicates, also got ${wrong.join(', ')}`,
      );
      replies.forEach((answer) =>
        expectSame(replies[0] as Answer, answer, 'a duplicate that was sent at the same time'),
      );
      const later = await send(target, { key });
      expectSame(replies[0] as Answer, later, 'a later duplicate');
      const made = await effects.expect(1, [...replies, later], `${STORM} duplicates at once`);
      return `${made}; ${replies.length} replies, ${refused.length} refused as in progress`;
    },
  },
  {
    id: 'mismatch',
    title: 'a used key with another body is refused and has no effect, and the key keeps its reply',
    run: async (target, profile) => {
      const { otherBody } = profile;
      const effects = await EffectCount.from(target);
      const key = freshKey(profile);
      const first = await sendFirst(target, key);
      const other = await send(target, { key, body: target.otherBody });
      expect(
        otherBody.includes(other.status),
        `expected ${otherBody.join(' or ')} for a used key with another body, got ${other.status}`,
      );
      const again = await send(target, { key });
      expectSame(first, again, 'the first request, sent again after the mismatch');
      await effects.expect(1, [first, again], 'a key with two bodies');
      return `${other.status}`;
    },
  },
  {
    id: 'missing-key',
    title: 'a request without a key is refused or accepted, as documented',
    run: async (target, { missingKey }) => {
      const effects = await EffectCount.from(target);
      const answers = [await send(target, {}), await send(target, {})];
      if (missingKey === 'accepted') {
        answers.forEach((answer) => expectSuccess(target, answer, 'a request without a key'));
        return effects.expect(2, answers, 'two requests without a key');
      }
      for (const { status } of answers)
        expect(
          missingKey.includes(status),
          `expected ${missingKey.join(' or ')} for a request without a key, got ${status}`,
        );
      await effects.expect(0, [], 'requests without a key');
      return `${answers[0]?.status}`;
    },
  },
  {
    id: 'malformed-key',
    title: 'a malformed key is refused with 400 and has no effect',
    run: async (target, { badKeys }) => {
      const effects = await EffectCount.from(target);
      const names = Object.keys(badKeys);
      if (names.length === 0) throw new Unknown('this profile does not define malformed keys');
      for (const name of names) {
        const { status } = await send(target, { key: badKeys[name] });
        expect(status === 400, `expected 400 for a malformed key (${name}), got ${status}`);
      }
      await effects.expect(0, [], 'malformed keys');
      return names.join(', ');
    },
  },
  {
    id: 'quoted-key',
    title: 'a key with and without double quotes is the same key',
    run: async (target, profile) => {
      const { quotedIsBare } = profile;
      if (!quotedIsBare) throw new Unknown('this profile does not treat quoted and bare keys as the same');
      const effects = await EffectCount.from(target);
      const key = freshKey(profile);
      const first = await sendFirst(target, key);
      const quoted = await send(target, { key: `"${key}"` });
      expectSame(first, quoted, 'the quoted key');
      return effects.expect(1, [first, quoted], 'two requests with a bare and a quoted key');
    },
  },
  {
    id: 'body-order',
    title: 'a body with its members in another order is the same request',
    run: async (target, profile) => {
      const { comparesMeaning } = profile;
      if (!comparesMeaning) throw new Unknown('this profile leaves the comparison of bodies to the service');
      const reordered = reorder(JSON.parse(target.body));
      if (reordered === reorder(JSON.parse(reordered))) throw new Unknown('the body has fewer than two members');
      const effects = await EffectCount.from(target);
      const key = freshKey(profile);
      const first = await sendFirst(target, key);
      const again = await send(target, { key, body: reordered });
      expectSame(first, again, 'the same body with its members in another order');
      return effects.expect(1, [first, again], 'two requests whose bodies differ in the order of members');
    },
  },
  {
    id: 'refusal',
    title: 'a final refusal is replayed like a success',
    run: async (target, profile) => {
      if (target.refusedBody === undefined) throw new Unknown('no body with a final refusal was given');
      const key = freshKey(profile);
      const first = await send(target, { key, body: target.refusedBody });
      expect(first.status >= 400 && first.status < 500, `expected 4xx for the refused body, got ${first.status}`);
      const again = await send(target, { key, body: target.refusedBody });
      expectSame(first, again, 'the refused request, sent again');
      return `${first.status}`;
    },
  },
  {
    id: 'invalid-body',
    title: 'after an invalid body, the same key can be used with the corrected body',
    run: async (target, profile) => {
      const { invalidBodyLeavesKeyUnused } = profile;
      if (!invalidBodyLeavesKeyUnused)
        throw new Unknown('this profile leaves the key of an invalid body to the service');
      if (target.invalidBody === undefined) throw new Unknown('no invalid body was given');
      const key = freshKey(profile);
      const invalid = await send(target, { key, body: target.invalidBody });
      expect(invalid.status >= 400 && invalid.status < 500, `expected 4xx for the invalid body, got ${invalid.status}`);
      expectSuccess(target, await send(target, { key }), 'the corrected body with the same key');
      return `${invalid.status}, then a success`;
    },
  },
  {
    id: 'scope',
    title: 'the same key of another account is another key',
    run: async (target, profile) => {
      const { scoped } = profile;
      if (!scoped || !target.otherHeaders) throw new Unknown('no credentials of another account were given');
      const key = freshKey(profile);
      const first = await sendFirst(target, key);
      const other = await send(target, { key, asOther: true });
      expectSuccess(target, other, 'the same key of another account');
      expect(
        expectId(target, first) !== expectId(target, other),
        'expected a separate effect for another account, got the reply of the first account',
      );
      return 'two effects and two replies';
    },
  },
  {
    id: 'hang-up',
    title: 'a client that hangs up and retries gets the reply, and there is one effect',
    run: async (target, profile) => {
      const effects = await EffectCount.from(target);
      const key = freshKey(profile);
      await sendAndHangUp(target, key);
      const answers: Answer[] = [];
      for (let attempt = 0; attempt < RETRIES; attempt++) {
        const answer = await send(target, { key });
        if (target.success.includes(answer.status)) answers.push(answer);
        if (answers.length === 2) break;
        if (answers.length === 0) await pause(RETRY_MS);
      }
      expect(answers.length === 2, `expected a reply within ${RETRIES} retries`);
      expectSame(answers[0] as Answer, answers[1] as Answer, 'the second retry');
      const made = await effects.expect(1, answers, 'a request whose client hung up, with its retries,');
      if (!effects.isExact)
        throw new Unknown('without --effects, a second effect of the request that hung up would not be seen');
      return made;
    },
  },
];
