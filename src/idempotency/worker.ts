import { setTimeout as pause } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Logger } from '@nestjs/common';

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
   * @param limit rows that one statement deals with at most
   * @returns how many rows were dealt with in all
   */
  protected async inBatches(limit: number, once: (limit: number) => Promise<number>): Promise<number> {
    let total = 0;
    for (let rows = limit; rows === limit && !this.stopping; total += rows) {
      const startedAt = performance.now();
      rows = await once(limit);
      if (rows === limit) await this.rest(REST * (performance.now() - startedAt));
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
