// Goal: prove that accounts share a bounded resource and a queue fairly.
// Method: call `FairShare` and `FairQueue` directly.
import { describe, expect, it } from '@jest/globals';
import { FairQueue, type Queued } from '../../src/idempotency/commit/fair-queue.js';
import { FairShare } from '../../src/idempotency/commit/fair-share.js';

/** Lets the accounts take one unit in turn until none may take more. Returns what each account holds. */
function fill(share: FairShare, accounts: string[]): number[] {
  const held = accounts.map(() => 0);
  while (accounts.some((account) => share.allows(account))) {
    accounts.forEach((account, i) => {
      if (!share.allows(account)) return;
      share.take(account);
      held[i] = (held[i] ?? 0) + 1;
    });
  }
  return held;
}

describe('a fair share', () => {
  it.each([
    [['a'], [50]],
    [
      ['a', 'b'],
      [34, 33],
    ],
    [
      ['a', 'b', 'c', 'd'],
      [20, 20, 20, 20],
    ],
  ])('lets the accounts %j take %j of 100, and leaves a share for the next account', (accounts, expected) => {
    const share = new FairShare(100);
    expect(fill(share, accounts)).toEqual(expected);
    expect(share.exhausted.sort()).toEqual(accounts);
    expect(share.allows('next')).toBe(true);
  });

  it('allows an amount only if the account then holds no more than was left before', () => {
    const share = new FairShare(100);
    expect([share.allows('a', 100), share.allows('a', 101)]).toEqual([true, false]);
    share.take('b', 60);
    expect([share.allows('a', 40), share.allows('a', 41)]).toEqual([true, false]);
  });

  it('takes back a share once, however often it is given back', () => {
    const share = new FairShare(2);
    const giveBack = share.take('a');
    share.take('b', 5);
    expect(share.exhausted).toEqual(['a', 'b']);
    giveBack();
    giveBack();
    expect(share.exhausted).toEqual(['b']);
  });
});

/** Queued items that count in `looks` how often their names are read. */
function itemsOf(accountId: string, names: string[], looks = { count: 0 }): Queued[] {
  return names.map((name) => ({
    accountId,
    isAlone: false,
    get name() {
      looks.count++;
      return `${accountId} ${name}`;
    },
  }));
}
const numbered = (count: number) => Array.from({ length: count }, (_, i) => String(i));
const namesOf = (items: Queued[]) => items.map(({ name }) => name);

describe('a fair queue', () => {
  it('gives each account its turn, continues where it stopped, and loses no item', () => {
    const queue = new FairQueue();
    queue.add([...itemsOf('a', numbered(4)), ...itemsOf('b', numbered(1)), ...itemsOf('c', numbered(2))]);
    expect(namesOf(queue.takeFromAll(2))).toEqual(['a 0', 'b 0']);
    expect(namesOf(queue.takeFromAll(2))).toEqual(['c 0', 'a 1']);
    expect(namesOf(queue.takeFromAll(9))).toEqual(['c 1', 'a 2', 'a 3']);
    expect([queue.isEmpty, queue.takeFromAll(9)]).toEqual([true, []]);
  });

  it('takes a key only once for a group, and delays no other account for it', () => {
    const queue = new FairQueue();
    queue.add([...itemsOf('a', ['k', 'k', 'l']), ...itemsOf('b', ['k', 'l'])]);
    expect(namesOf(queue.takeFromAll(9))).toEqual(['a k', 'b k', 'b l']);
    expect(namesOf(queue.takeFromAll(9))).toEqual(['a k', 'a l']);
  });

  it('takes items of one allowed account at a time, and an item that must be alone by itself', () => {
    const queue = new FairQueue();
    queue.add(itemsOf('a', numbered(2)));
    queue.add(itemsOf('b', numbered(1)).map((item) => Object.defineProperty(item, 'isAlone', { value: true })));
    queue.add(itemsOf('b', ['x', 'y', 'z']));
    const takeOne = () => namesOf(queue.takeFromOne(2, (accountId) => accountId === 'b'));
    expect([takeOne(), takeOne(), takeOne(), takeOne()]).toEqual([['b 0'], ['b x', 'b y'], ['b z'], []]);
    expect(namesOf(queue.remove('a'))).toEqual(['a 0', 'a 1']);
    expect(queue.isEmpty).toBe(true);
  });

  it('reads only the items that it takes, however many wait', () => {
    const looks = { count: 0 };
    const queue = new FairQueue();
    queue.add([
      ...itemsOf('a', numbered(10_000), looks),
      ...itemsOf('b', ['k', ...numbered(10_000).map(() => 'k')], looks),
    ]);
    expect(queue.takeFromAll(64)).toHaveLength(64);
    // Each item is read twice, and so is the item that ends the turn of an account.
    expect(looks.count).toBeLessThanOrEqual(2 * 65);
  });
});
