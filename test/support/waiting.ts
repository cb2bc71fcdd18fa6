/** Something that happens once, and can be waited for. */
class Signal {
  give!: () => void;
  readonly given = new Promise<void>((resolve) => (this.give = resolve));
}

/** A place where the first to arrive is held until it is let go; those after it pass. */
export class Barrier {
  private static readonly all = new Set<Barrier>();

  /** For what a failed test has left behind: a held request would hold up the end of its server. */
  static openAll(): void {
    Barrier.all.forEach((barrier) => barrier.open());
    Barrier.all.clear();
  }

  readonly reached = new Signal();
  private readonly opened = new Signal();
  private first = true;

  constructor() {
    Barrier.all.add(this);
  }

  readonly pass = async (): Promise<void> => {
    if (!this.first) return;
    this.first = false;
    this.reached.give();
    await this.opened.given;
  };

  readonly open = () => this.opened.give();
}

/** Looks again until `condition` holds; fails loudly when it does not come to hold. */
export async function until(condition: () => Promise<boolean> | boolean, withinMs = 15_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`Not within ${withinMs} ms: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
