import { setTimeout as pause } from 'node:timers/promises';
import { type BeforeApplicationShutdown, Logger } from '@nestjs/common';

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

  /** Leaves the database to others for a while; a shutdown ends it. */
  protected async rest(ms: number): Promise<void> {
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
