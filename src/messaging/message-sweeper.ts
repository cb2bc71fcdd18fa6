import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import { DataSource } from 'typeorm';
import { inTransaction } from '../postgres/transaction.js';
import { Worker } from '../postgres/worker.js';
import { MESSAGING_OPTIONS, type MessagingOptions } from './messaging.options.js';
import { SWEEP_INBOX, SWEEP_OUTBOX } from './messaging.sql.js';

/** Deletes messages that were published or processed longer ago than the retention. Dead letters stay until a redelivery succeeds. */
@Injectable()
export class MessageSweeper extends Worker implements OnApplicationBootstrap {
  constructor(
    private readonly dataSource: DataSource,
    private readonly schedule: SchedulerRegistry,
    @Inject(MESSAGING_OPTIONS) private readonly options: MessagingOptions,
  ) {
    super();
  }

  onApplicationBootstrap(): void {
    const job = CronJob.from({ cronTime: this.options.sweepCron, onTick: () => void this.tick() });
    this.schedule.addCronJob('messaging:sweep', job);
    job.start();
  }

  protected async run(): Promise<number> {
    return (await this.sweep(SWEEP_OUTBOX)) + (await this.sweep(SWEEP_INBOX));
  }

  private sweep(text: string): Promise<number> {
    return this.inBatches(async (limit) => {
      const values = [this.options.retentionHours * 3600, limit];
      return (await inTransaction(this.dataSource, ({ sql }) => sql.query({ text, values }))).rowCount ?? 0;
    });
  }
}
