import { setTimeout as pause } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Logger } from '@nestjs/common';

/** Rows that one statement deals with: few enough to hold their locks for milliseconds only. */
const BATCH_ROWS = 1_000;
/** A rest is that many times as long as the batch before it, so batches have a fifth of one connection at most. */
const REST = 4;

/** Background work in runs of bounded size: one at a time in this process, and none cut off by a shutdown. */
export abstract class Worker implements BeforeApplicationShutdown {
  protected readonly logger = new Logger(this.constructor.name);
  private readonly shutdown = new AbortController();
  private running: Promise<number> | undefined;

  /**
   * Does what there is to do now.
   *
   * @returns how many rows or requests were dealt with; a run that is under way already is joined
   */
  runOnce(): Promise<number> {
    this.running ??= this.run().finally(() => (this.running = undefined));
    return this.running;
  }

  /** Ends after the batch that is under way. */
  async beforeApplicationShutdown(): Promise<void> {
    this.shutdown.abort();
    await this.running?.catch(() => undefined);
  }

  protected get stopping(): boolean {
    return this.shutdown.signal.aborted;
  }

  /**
   * Repeats a statement of bounded size until it finds less than it may, or a shutdown begins. It rests in between, so that
   * the database is there for others.
   *
   * @param once deals with so many rows at most, and returns with how many
   * @returns how many rows were dealt with in all
   */
  protected async inBatches(once: (limit: number) => Promise<number>): Promise<number> {
    let total = 0;
    for (let rows = BATCH_ROWS; rows === BATCH_ROWS && !this.stopping; total += rows) {
      const startedAt = performance.now();
      rows = await once(BATCH_ROWS);
      if (rows === BATCH_ROWS) await this.rest(REST * (performance.now() - startedAt));
    }
    return total;
  }

  /** Leaves the database to others for a while; a shutdown ends it. */
  private async rest(ms: number): Promise<void> {
    await pause(ms, undefined, { signal: this.shutdown.signal, ref: false }).catch(() => undefined);
  }

  /** A scheduled run: its failure is logged, and the next run tries again. */
  protected async tick(): Promise<void> {
    if (this.stopping) return;
    await this.runOnce().catch((error: unknown) =>
      this.logger.warn(`Failed, and will be tried again: ${String(error)}`),
    );
  }

  protected abstract run(): Promise<number>;
}
