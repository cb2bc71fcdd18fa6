/** An event that happens once: `give` makes it happen, and `given` resolves when it has. */
class Signal {
  give!: () => void;
  readonly given = new Promise<void>((resolve) => (this.give = resolve));
}

/** Holds the first caller of `pass` until `open` is called. Later callers pass at once. `reached.given` resolves when the first caller has arrived. */
export class Barrier {
  private static readonly all = new Set<Barrier>();

  /** Opens every barrier, because a request that a failed test has left at a barrier would delay the end of its server. */
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
 * Settings with limits that a busy machine does not reach. A test of what happens when a wait or a lease ends shortens that
 * limit.
 */
export const PATIENCE = {
  GATEWAY_TIMEOUT_MS: '60000',
  IDEMPOTENCY_WAIT_MS: '60000',
  IDEMPOTENCY_LEASE_SECONDS: '90',
};

/**
 * Ends a test that hangs. It measures nothing, because a busy machine may take long. It is shorter than Jest's `testTimeout`, so
 * that the error names the condition.
 */
const HANG_MS = 120_000;
const LOOK_INTERVAL_MS = 5;

/** Polls until `condition` is true. Throws an error with the text of the condition if it never becomes true. */
export async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + HANG_MS;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`This never became true: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_INTERVAL_MS));
  }
}
