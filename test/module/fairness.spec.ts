// Goal: prove that accounts share a bounded resource and a queue fairly.
// Method: call `FairShare` and `FairQueue` directly.
import { describe, expect, it } from '@jest/globals';
import { FairQueue } from '../../src/idempotency/commit/fairness.js';
import { FairShare } from '../../src/idempotency/commit/fairness.js';

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

/** An item of an account, with the name of its key. */
interface Item {
  accountId: string;
  name: string;
}

function itemsOf(accountId: string, names: string[]): Item[] {
  return names.map((name) => ({ accountId, name: `${accountId} ${name}` }));
}
const numbered = (count: number) => Array.from({ length: count }, (_, i) => String(i));
const namesOf = (items: Item[]) => items.map(({ name }) => name);
const everyAccount = () => true;

describe('a fair queue', () => {
  const takeGroup = (queue: FairQueue<Item>, limit: number, may = everyAccount as (accountId: string) => boolean) =>
    namesOf(queue.takeGroup(limit, ({ name }) => name, may));

  it('gives each account its turn, continues where it stopped, and loses nothing', () => {
    const queue = new FairQueue<Item>();
    queue.add([...itemsOf('a', numbered(4)), ...itemsOf('b', numbered(1)), ...itemsOf('c', numbered(2))]);
    expect(takeGroup(queue, 2)).toEqual(['a 0', 'b 0']);
    expect(takeGroup(queue, 2)).toEqual(['c 0', 'a 1']);
    expect(takeGroup(queue, 9)).toEqual(['c 1', 'a 2', 'a 3']);
    expect(takeGroup(queue, 9)).toEqual([]);
  });

  it('takes no key twice into a group, and delays no other account because of it', () => {
    const queue = new FairQueue<Item>();
    queue.add([...itemsOf('a', ['k', 'k', 'l']), ...itemsOf('b', ['k', 'l'])]);
    expect(takeGroup(queue, 9)).toEqual(['a k', 'b k', 'b l']);
    expect(takeGroup(queue, 9)).toEqual(['a k', 'a l']);
  });

  it('leaves the items of an account that may not be served where they are', () => {
    const queue = new FairQueue<Item>();
    queue.add([...itemsOf('a', numbered(2)), ...itemsOf('b', numbered(3))]);
    expect(takeGroup(queue, 9, (accountId) => accountId === 'b')).toEqual(['b 0', 'b 1', 'b 2']);
    expect(namesOf(queue.remove('a'))).toEqual(['a 0', 'a 1']);
    expect(takeGroup(queue, 9)).toEqual([]);
  });

  it('takes the next item of the next account that may be served', () => {
    const queue = new FairQueue<Item>();
    queue.add([...itemsOf('a', numbered(2)), ...itemsOf('b', numbered(2)), ...itemsOf('c', numbered(1))]);
    const takeNext = () => queue.takeNext((accountId) => accountId !== 'c')?.name;
    expect([takeNext(), takeNext(), takeNext(), takeNext(), takeNext()]).toEqual([
      'a 0',
      'b 0',
      'a 1',
      'b 1',
      undefined,
    ]);
    expect(queue.takeNext(everyAccount)?.name).toBe('c 0');
  });

  it('reads no more items than it takes, however many wait', () => {
    const queue = new FairQueue<Item>();
    queue.add([...itemsOf('a', numbered(10_000)), ...itemsOf('b', ['k', ...numbered(10_000).map(() => 'k')])]);
    let reads = 0;
    const nameOf = ({ name }: Item) => {
      reads++;
      return name;
    };
    expect(queue.takeGroup(64, nameOf, everyAccount)).toHaveLength(64);
    // Each is read twice, and so is the item that ends the turn of an account.
    expect(reads).toBeLessThanOrEqual(2 * 65);
  });
});
