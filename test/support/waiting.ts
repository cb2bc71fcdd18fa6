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

/**
 * Settings of a service that waits longer than a busy machine takes for anything. A test of what happens when a wait or a
 * lease is over shortens that one.
 */
export const PATIENCE = {
  GATEWAY_TIMEOUT_MS: '60000',
  IDEMPOTENCY_WAIT_MS: '60000',
  IDEMPOTENCY_LEASE_SECONDS: '90',
};

/**
 * Ends a test that hangs, and measures nothing: a busy machine takes as long as it needs. Shorter than Jest's `testTimeout`,
 * so that the error names the condition.
 */
const HANG_MS = 120_000;
const LOOK_INTERVAL_MS = 5;

/** Looks again until `condition` holds; fails loudly when it does not come to hold. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + HANG_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`This never came to hold: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_INTERVAL_MS));
  }
}
