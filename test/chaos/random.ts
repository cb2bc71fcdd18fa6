/** Random numbers that are the same for the same seed: mulberry32 by Tommy Ettinger, which passes gjrand's tests. Not for secrets. */
export class Random {
  private state: number;

  /** @param seed an integer, of which the lowest 32 bits count */
  constructor(private readonly seed: number) {
    this.state = seed >>> 0;
  }

  /** A number from 0 up to, but not including, 1. */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer from `least` to `most`. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.integer(0, list.length - 1)] as T;
  }

  shuffled<T>(list: readonly T[]): T[] {
    const shuffled = [...list];
    for (let last = shuffled.length - 1; last > 0; last--) {
      const other = this.integer(0, last);
      [shuffled[last], shuffled[other]] = [shuffled[other] as T, shuffled[last] as T];
    }
    return shuffled;
  }

  /** A generator of its own for each client or fault, so that its numbers do not depend on how fast the others draw. */
  fork(index: number): Random {
    // The index is mixed into the seed. If it were added, forks of different forks would have the same numbers.
    return new Random(new Random(this.seed ^ Math.imul(index + 1, 0x9e3779b1)).next() * 2 ** 32);
  }
}
