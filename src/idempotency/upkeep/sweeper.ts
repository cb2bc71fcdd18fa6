import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import { Idempotency } from '../idempotency.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { Worker } from '../../postgres/worker.js';
import { UpkeepStore } from './upkeep.store.js';

/** Deletes completed keys past their retention. All replicas may sweep at once, because a sweep skips rows that another sweep has locked. */
@Injectable()
export class Sweeper extends Worker implements OnApplicationBootstrap {
  constructor(
    private readonly idempotency: Idempotency,
    private readonly store: UpkeepStore,
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
    const swept = await this.inBatches(async (limit) => {
      const rows = await this.store.sweep(limit);
      this.idempotency.events.next({ type: 'swept', rows });
      return rows;
    });
    if (swept > 0) this.logger.log(`Swept ${swept} expired idempotency keys`);
    return swept;
  }
}
