import { Module } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { DataSource } from 'typeorm';
import { CONFIG, type Config } from '../config.js';
import { Consumers } from '../messaging/index.js';
import { MailLimit } from './mail-limit/mail-limit.js';
import { PostgresMailLimit } from './mail-limit/postgres.mail-limit.js';
import { Mailer } from './mailer.js';
import { receiptsConsumer } from './receipts.consumer.js';

/** The limit in Redis if `REDIS_URL` is set. The client library is loaded only then, because loading it slows the start. */
async function mailLimit(config: Config, dataSource: DataSource, schedule: SchedulerRegistry): Promise<MailLimit> {
  if (!config.REDIS_URL) return new PostgresMailLimit(dataSource, schedule, config.IDEMPOTENCY_SWEEP_CRON);
  const { RedisMailLimit } = await import('./mail-limit/redis.mail-limit.js');
  return new RedisMailLimit(config.REDIS_URL);
}

@Module({
  providers: [{ provide: MailLimit, useFactory: mailLimit, inject: [CONFIG, DataSource, SchedulerRegistry] }, Mailer],
})
export class NotificationsModule {
  constructor(consumers: Consumers, limit: MailLimit, mailer: Mailer) {
    consumers.register(receiptsConsumer(limit, mailer));
  }
}
