import { setTimeout as wait } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Logger } from '@nestjs/common';

/** Maximum number of rows in one statement, so that the statement holds their locks for milliseconds only. */
const BATCH_ROWS = 1_000;
/** The pause after a batch is this many times as long as the batch, so batches use at most a fifth of the time of one connection. */
const PAUSE_FACTOR = 4;

/** Background work that runs once at a time in a process, in batches of bounded size. A shutdown waits for the batch that is under way. */
export abstract class Worker implements BeforeApplicationShutdown {
  protected readonly logger = new Logger(this.constructor.name);
  private readonly shutdown = new AbortController();
  private running: Promise<number> | undefined;

  /**
   * Does the work that is due now. If a run is under way already, waits for that run.
   *
   * @returns the number of rows or requests that were processed
   */
  runOnce(): Promise<number> {
    this.running ??= this.run().finally(() => (this.running = undefined));
    return this.running;
  }

  /** Stops the work after the batch that is under way. */
  async beforeApplicationShutdown(): Promise<void> {
    this.shutdown.abort();
    await this.running?.catch(() => undefined);
  }

  protected get stopping(): boolean {
    return this.shutdown.signal.aborted;
  }

  /**
   * Repeats a statement of bounded size until it finds fewer rows than its limit, or a shutdown begins. It pauses between two batches, so
   * that the work does not slow down requests.
   *
   * @param once processes at most `limit` rows, and returns their number
   * @returns the number of rows of all batches
   */
  protected async inBatches(once: (limit: number) => Promise<number>): Promise<number> {
    let total = 0;
    for (let rows = BATCH_ROWS; rows === BATCH_ROWS && !this.stopping; total += rows) {
      const startedAt = performance.now();
      rows = await once(BATCH_ROWS);
      if (rows === BATCH_ROWS) await this.pause(PAUSE_FACTOR * (performance.now() - startedAt));
    }
    return total;
  }

  /** Waits `ms` milliseconds, or until a shutdown begins. */
  private async pause(ms: number): Promise<void> {
    await wait(ms, undefined, { signal: this.shutdown.signal, ref: false }).catch(() => undefined);
  }

  /** Runs the work on a schedule. A failure is logged, because the next run tries again. */
  protected async tick(): Promise<void> {
    if (this.stopping) return;
    await this.runOnce().catch((error: unknown) =>
      this.logger.warn(`The run failed, and the next run tries again: ${String(error)}`),
    );
  }

  protected abstract run(): Promise<number>;
}
