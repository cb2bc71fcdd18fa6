// Goal: prove that accounts share group commits fairly, and that an account that makes groups fail is kept apart.
// Method: hold every group (`holdGroups`) until units of several accounts wait, and record which accounts each phase call contains.
import { describe, expect, it } from '@jest/globals';
import type { EntityManager } from 'typeorm';
import type { CommitResult } from '../../src/idempotency/commit/committer.js';
import type { Phase, PhaseItem, Reply } from '../../src/idempotency/index.js';
import {
  CLIENTS,
  commitSizes,
  groupCommit,
  holdGroups,
  namesOf,
  replicasOf,
  unitOf,
  waiting,
} from '../support/groups.js';
import { left } from '../support/toy.js';
import type { Wish } from '../support/toy.handlers.js';
import { Barrier, until } from '../support/waiting.js';

const [, PIPELINES = CLIENTS[0]] = CLIENTS;
type Item = PhaseItem<Wish>;

describe('accounts that wait for a group commit', () => {
  const at = replicasOf(PIPELINES as (typeof CLIENTS)[number]);

  /** For each call of a phase, in order, the number of items of each account. */
  let calls: Record<string, number>[];
  /** A phase that records its calls, and runs `first` before it returns. */
  const noting = (first: (items: readonly Item[], tx: EntityManager) => unknown = () => undefined) => {
    calls = [];
    const phase: Phase<Wish, Reply> = async (tx, items) => {
      calls.push(countsOf(items));
      await first(items, tx);
      return items.map(() => ({ status: 204 }));
    };
    return phase as Phase<never, Reply>;
  };
  const commit = (account: string, names: string[], phase: Phase<never, Reply>) =>
    names.map((name) => groupCommit(at.toy).commit(unitOf(name, phase, account)));
  /** Makes all units wait, and releases them at once. */
  async function together(units: () => Promise<CommitResult>[]): Promise<PromiseSettledResult<CommitResult>[]> {
    const letGo = await holdGroups(at.toy);
    const outcomes = Promise.allSettled(units());
    await letGo();
    return outcomes;
  }
  const isCommitted = (outcome: PromiseSettledResult<CommitResult>) =>
    outcome.status === 'fulfilled' && outcome.value.kind === 'recorded';

  const isBad = ({ input: { name } }: Item) => name.startsWith('bad');
  /** Throws for a whole group because of one of its items. */
  const throwing = () =>
    noting((items) => {
      if (items.some(isBad)) throw new Error('spoilt');
    });
  const bad = (count: number) => namesOf(count).map((name) => `bad ${name}`);

  it('puts a request into the very next group, although another account has 1,000 requests waiting', async () => {
    const phase = noting();
    const outcomes = await together(() => [...commit('a', namesOf(1_000), phase), ...commit('b', ['one'], phase)]);
    expect(outcomes.filter(isCommitted)).toHaveLength(1_001);
    // A slow group lets the next group start, and up to four may reach their phases in any order. In one queue, b would be in the 16th.
    expect(calls.slice(0, 4)).toContainEqual({ a: 63, b: 1 });
  });

  it('puts the requests that arrive in one turn of the event loop into one group', async () => {
    const phase = noting();
    await Promise.all(commit('a', namesOf(3), phase));
    expect(calls).toEqual([{ a: 3 }]);
  });

  it('divides a group evenly between the accounts that have requests for it', async () => {
    const phase = noting();
    await together(() => [
      ...commit('a', namesOf(200), phase),
      ...commit('b', namesOf(30), phase),
      ...commit('c', namesOf(10), phase),
    ]);
    // A slow group lets the next group start, so the groups may reach their phases in any order.
    expect(calls).toHaveLength(4);
    expect(calls).toEqual(expect.arrayContaining([{ a: 27, b: 27, c: 10 }, { a: 61, b: 3 }, { a: 64 }, { a: 48 }]));
  });

  it('retries each request of a failed group in a transaction of its own, so that only the bad requests fail', async () => {
    const phase = throwing();
    const outcomes = await together(() => [...commit('a', bad(8), phase), ...commit('b', namesOf(8), phase)]);
    expect(outcomes.map(isCommitted)).toEqual([...bad(8).map(() => false), ...namesOf(8).map(() => true)]);
    expect(calls[0]).toEqual({ a: 8, b: 8 });
    expect(calls.slice(1)).toHaveLength(16);
    expect(calls.slice(1)).toEqual(expect.arrayContaining([{ a: 1 }, { b: 1 }]));
    expect(commitSizes(at.toy)).toEqual(namesOf(8).map(() => 1));
    expect(await left(at.database)).toMatchObject({ keys: 8, completed: 8 });
  });

  it('excludes only the account that made a group fail from the groups of other accounts', async () => {
    const phase = throwing();
    await together(() => [...commit('a', bad(2), phase), ...commit('b', ['b'], phase), ...commit('c', ['c'], phase)]);
    calls = [];
    const outcomes = await together(() => [
      ...commit('a', [...bad(4), ...namesOf(4)], phase),
      ...commit('b', namesOf(4), phase),
      ...commit('c', namesOf(4), phase),
    ]);
    expect(outcomes.filter(isCommitted)).toHaveLength(12);
    expect(calls.filter((call) => 'a' in call && Object.keys(call).length > 1)).toEqual([]);
    expect(calls).toContainEqual({ b: 4, c: 4 });
  });

  it('excludes an account from the groups of other accounts if its request waits for a lock in vain, because each group with that request would wait as long', async () => {
    const phase = noting(async (items, tx) => {
      if (items.some(isBad)) await tx.query(`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '55P03'; END $$`);
    });
    await together(() => [...commit('a', bad(2), phase), ...commit('b', ['b'], phase), ...commit('c', ['c'], phase)]);
    calls = [];
    await together(() => [
      ...commit('a', bad(4), phase),
      ...commit('b', namesOf(4), phase),
      ...commit('c', ['one'], phase),
    ]);
    expect(calls.filter((call) => 'a' in call && Object.keys(call).length > 1)).toEqual([]);
    expect(calls).toContainEqual({ b: 4, c: 1 });
  });

  it('removes the waiting requests of an account from the shared queue after the account has made a group fail', async () => {
    const phase = throwing();
    await together(() =>
      namesOf(300).flatMap((name) => [...commit('a', [`bad ${name}`], phase), ...commit('b', [name], phase)]),
    );
    // Four groups can be under way when the first of them throws, if they are slow. Without the removal there would be ten mixed groups.
    const mixed = calls.filter((call) => 'a' in call && 'b' in call);
    expect(mixed.length).toBeLessThanOrEqual(4);
    expect(await left(at.database)).toMatchObject({ keys: 300, completed: 300 });
  });

  it('suspects no account of a group that only lost a race', async () => {
    const phase = noting(
      (items, tx) => items.length > 8 && tx.query(`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01'; END $$`),
    );
    const units = (prefix: string) => [
      ...commit(
        'a',
        namesOf(8).map((name) => prefix + name),
        phase,
      ),
      ...commit(
        'b',
        namesOf(8).map((name) => prefix + name),
        phase,
      ),
    ];
    expect((await together(() => units('first '))).every(isCommitted)).toBe(true);
    expect(calls).toHaveLength(17);
    expect(calls[0]).toEqual({ a: 8, b: 8 });
    expect(calls.slice(1)).toEqual(expect.arrayContaining([{ a: 1 }, { b: 1 }]));
    calls = [];
    expect((await together(() => units('second '))).every(isCommitted)).toBe(true);
    expect(calls[0]).toEqual({ a: 8, b: 8 });
  });

  it('commits requests of other accounts while an account that is kept apart has slow requests', async () => {
    const phase = throwing();
    await together(() => [...commit('a', bad(2), phase), ...commit('b', ['b'], phase)]);
    const slow = [new Barrier(), new Barrier()];
    const holding = noting(async () => {
      await Promise.all(slow.splice(0, 1).map(({ pass }) => pass()));
    });
    const [first, second] = [...slow] as [Barrier, Barrier];
    // One account may use half of the transactions of the committer for single requests.
    const held = commit('a', ['held 1'], holding);
    await first.reached.given;
    held.push(...commit('a', ['held 2'], holding));
    await second.reached.given;
    held.push(...commit('a', namesOf(8), holding));
    expect(waiting(at.toy)).toBe(8);
    for (const name of namesOf(3))
      expect(await Promise.all(commit('b', [name], phase))).toMatchObject([{ kind: 'recorded' }]);
    // Accounts that are only suspected, because they shared a failed group, get a transaction as well.
    const outcomes = await together(() => [...commit('c', bad(1), phase), ...commit('d', ['d'], phase)]);
    expect(outcomes.map(isCommitted)).toEqual([false, true]);
    expect(waiting(at.toy)).toBe(8);
    [first, second].forEach(({ open }) => open());
    await until(() => waiting(at.toy) === 0);
    expect((await Promise.allSettled(held)).every(isCommitted)).toBe(true);
  });

  it('keeps an account apart if one of its requests fails alone, although its requests of another failed group have succeeded alone', async () => {
    const [firstGroup, secondGroup, failure] = [new Barrier(), new Barrier(), new Barrier()];
    const throwingAfter = (group: Barrier) =>
      noting(async (items) => {
        if (items.length > 1) await group.pass();
        else if (items.some(isBad)) await failure.pass();
        if (items.length > 1 || items.some(isBad)) throw new Error('spoilt');
      });
    const good = throwingAfter(firstGroup);
    const innocent = [...commit('mixed', ['good'], good), ...commit('other', ['other'], good)];
    await firstGroup.reached.given;
    const spoilt = throwingAfter(secondGroup);
    const failing = Promise.allSettled([...commit('mixed', bad(1), spoilt), ...commit('other', ['another'], spoilt)]);
    secondGroup.open();
    await failure.reached.given;
    firstGroup.open();
    await Promise.all(innocent);
    failure.open();
    expect((await failing).map(isCommitted)).toEqual([false, true]);
    expect(groupCommit(at.toy)['apart'].get('mixed')).toBe('guilty');
  });
});

function countsOf(items: readonly Item[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { accountId } of items) counts[accountId] = (counts[accountId] ?? 0) + 1;
  return counts;
}
