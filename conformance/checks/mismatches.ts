import { EffectCount, expectId, expectSame, expectSuccess, isSame, shown, statusesText } from '../expectations.js';
import { expect, Skipped } from '../finding.js';
import { freshKey, send } from '../http/send.js';
import type { Check } from '../subject.js';
import { isSuccess } from '../target.js';
import { sendFirst } from './first.js';

export const mismatch: Check = {
  id: 'mismatch',
  title: 'a used key with another body is refused and has no effect, and the key keeps its reply',
  run: async (subject) => {
    const { target, profile } = subject;
    if (target.otherBody === undefined) throw new Skipped('no other valid body was given: see --other-body');
    const effects = await EffectCount.from(subject);
    const key = freshKey(profile);
    const first = await sendFirst(subject, { key });
    const other = await send(target, { key, body: target.otherBody });
    const wanted = statusesText(profile.otherBody);
    const what = `${wanted} for a used key with another body`;
    expect(!isSame(first, other), 'wrong reply', `expected ${what}, got the reply to the first body`, other);
    const replies = [first, ...(isSuccess(target, other.status) ? [other] : [])];
    await effects.expect(1, replies, 'a key with two bodies', other);
    expect(profile.otherBody.includes(other.status), 'broken rule', `expected ${what}, got ${shown(other)}`, other);
    const again = await send(target, { key });
    expectSame(first, again, 'the first request, sent again after the mismatch');
    await effects.expect(1, [first, again], 'a key with two bodies');
    return `${other.status}`;
  },
};

export const otherPath: Check = {
  id: 'other-path',
  title: 'a used key at another path does not get the recorded reply',
  run: async (subject) => {
    const { target, profile } = subject;
    const key = freshKey(profile);
    const first = await sendFirst(subject, { key });
    // A sibling of the operation, because a layer for idempotency keys may cover a folder of paths only.
    const path = target.path.replace(/\?.*/, '').replace(/[^/]*\/?$/, 'idempotency-conformance-no-operation');
    const other = await send(target, { key, path });
    expect(
      !isSame(first, other),
      'wrong reply',
      `expected an answer of its own from ${path}, got the reply of ${target.path}`,
      other,
    );
    return `${other.status} from a path that does not exist`;
  },
};

export const scope: Check = {
  id: 'scope',
  title: 'the same key of another account is another key',
  run: async (subject) => {
    const { target, profile } = subject;
    if (!target.otherHeaders) throw new Skipped('no credentials of another account were given: see --other-header');
    const key = freshKey(profile);
    const first = await sendFirst(subject, { key });
    const other = await send(target, { key, account: 'other' });
    expect(
      !isSuccess(target, other.status) || expectId(target, first) !== expectId(target, other),
      'wrong reply',
      'expected a separate effect for another account, got the reply of the first account',
      other,
    );
    expectSuccess(subject, other, 'the same key of another account');
    return 'two effects and two replies';
  },
};

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

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new Skipped('the body is not JSON');
  }
}

export const bodyOrder: Check = {
  id: 'body-order',
  title: 'a body with its members in another order is the same request',
  run: async (subject) => {
    const { target, profile } = subject;
    if (!profile.comparesMeaning) throw new Skipped('the profile leaves the comparison of bodies to the service');
    const reordered = reorder(parsed(target.body));
    if (reordered === reorder(JSON.parse(reordered))) throw new Skipped('the body has fewer than two members');
    const effects = await EffectCount.from(subject);
    const key = freshKey(profile);
    const first = await sendFirst(subject, { key });
    const again = await send(target, { key, body: reordered });
    await effects.expectNoMore(1, [first, again], 'two requests that differ in the order of members');
    expectSame(first, again, 'the same body with its members in another order');
    return effects.expect(1, [first, again], 'two requests that differ in the order of members');
  },
};
