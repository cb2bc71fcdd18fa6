import type { OnApplicationBootstrap } from '@nestjs/common';
import type { SchedulerRegistry } from '@nestjs/schedule';
import { CronJob } from 'cron';
import type { DataSource, EntityManager } from 'typeorm';
import { nameWithin } from '../../postgres/lock-order.js';
import { inTransaction } from '../../postgres/transaction.js';
import { Worker } from '../../postgres/worker.js';
import type { Mail } from '../mail.js';
import { LIMIT_SECONDS, type MailLimit } from './mail-limit.js';

/** The limit in the table `mailed_orders`. A claim is committed together with the record of its message, so neither exists alone. */
export class PostgresMailLimit extends Worker implements MailLimit, OnApplicationBootstrap {
  constructor(
    private readonly dataSource: DataSource,
    private readonly schedule: SchedulerRegistry,
    private readonly sweepCron: string,
  ) {
    super();
  }

  onApplicationBootstrap(): void {
    const job = CronJob.from({ cronTime: this.sweepCron, onTick: () => void this.tick() });
    this.schedule.addCronJob('notifications:sweep', job);
    job.start();
  }

  async admit(tx: EntityManager, mails: readonly Mail[]): Promise<readonly Mail[]> {
    const orders = mails.map(({ accountId, orderId }) => ({ account_id: accountId, order_id: orderId }));
    const rows = await tx.query<ClaimedRow[]>(CLAIM, [JSON.stringify(orders), LIMIT_SECONDS]);
    const claimed = new Set(rows.map(({ account_id, order_id }) => nameWithin(account_id, order_id)));
    // `delete` returns true once for each name, so two charges of an order in one batch cause one mail.
    return mails.filter(({ accountId, orderId }) => claimed.delete(nameWithin(accountId, orderId)));
  }

  /** Deletes the claims of past days. Redis does this by itself. */
  protected run(): Promise<number> {
    return this.inBatches(async (limit) => {
      const values = [LIMIT_SECONDS, limit];
      return (await inTransaction(this.dataSource, ({ sql }) => sql.query({ text: SWEEP, values }))).rowCount ?? 0;
    });
  }
}

interface ClaimedRow {
  account_id: string;
  order_id: string;
}

// $1 orders, $2 limit s. ORDER BY makes every transaction lock the rows in the same order, so that two transactions cannot deadlock.
const CLAIM = `
  INSERT INTO mailed_orders AS mailed (account_id, order_id, mailed_at)
  SELECT account_id, order_id, clock_timestamp()
  FROM jsonb_to_recordset($1::jsonb) AS mail (account_id text, order_id text)
  GROUP BY account_id, order_id
  ORDER BY account_id, order_id
  ON CONFLICT (account_id, order_id) DO UPDATE SET mailed_at = excluded.mailed_at
  WHERE mailed.mailed_at <= clock_timestamp() - make_interval(secs => $2)
  RETURNING account_id, order_id`;

// $1 limit s, $2 number of rows
const SWEEP = `
  DELETE FROM mailed_orders WHERE (account_id, order_id) IN (
    SELECT account_id, order_id FROM mailed_orders
    WHERE mailed_at <= statement_timestamp() - make_interval(secs => $1)
    ORDER BY mailed_at LIMIT $2
    FOR UPDATE SKIP LOCKED)`;
