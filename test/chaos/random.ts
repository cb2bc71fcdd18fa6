/** Random numbers that a seed repeats. Not for secrets: mulberry32, by Tommy Ettinger, which passes gjrand's tests. */
export class Random {
  private state: number;

  /** @param seed 32 bits; more are folded */
  constructor(private readonly seed: number) {
    this.state = seed >>> 0;
  }

  /** From 0 up to, but without, 1. */
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

  /** One of its own for each who draws at their own pace, so that nobody's numbers depend on another's speed. */
  fork(index: number): Random {
    // Mixed: were it a sum, the forks of one fork would be those of another.
    return new Random(new Random(this.seed ^ Math.imul(index + 1, 0x9e3779b1)).next() * 2 ** 32);
  }
}
