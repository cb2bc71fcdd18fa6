import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import { Idempotency } from './idempotency.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency.options.js';
import { Worker } from './worker.js';

/** Rows deleted by one statement: few enough to hold their locks for milliseconds only. */
const BATCH_ROWS = 1_000;
/** The sweep rests that many times as long as its last batch took, so it has a fifth of one connection at most. */
const REST = 4;

/** Deletes completed keys past their retention. Any replica may run it; several at once do no harm. */
@Injectable()
export class Sweeper extends Worker implements OnApplicationBootstrap {
  constructor(
    private readonly idempotency: Idempotency,
    private readonly schedule: SchedulerRegistry,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {
    super();
  }

  onApplicationBootstrap(): void {
    const job = CronJob.from({ cronTime: this.options.sweepCron, onTick: () => void this.tick() });
    this.schedule.addCronJob('idempotency:sweep', job);
    job.start();
  }

  protected async run(): Promise<number> {
    let swept = 0;
    for (let rows = BATCH_ROWS; rows === BATCH_ROWS && !this.stopping; swept += rows) {
      const startedAt = performance.now();
      rows = await this.idempotency.store.sweep(BATCH_ROWS);
      this.idempotency.events.next({ type: 'swept', rows });
      if (rows === BATCH_ROWS) await this.rest(REST * (performance.now() - startedAt));
    }
    if (swept > 0) this.logger.log(`Swept ${swept} expired idempotency keys`);
    return swept;
  }
}
