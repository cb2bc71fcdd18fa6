import { Inject, Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import { DataSource } from 'typeorm';
import { CONFIG, type Config } from '../../config.js';
import { inTransaction, runStatement } from '../../postgres/transaction.js';
import { Worker } from '../../postgres/worker.js';
import type { StripeEvent } from './stripe-event.js';
import { WebhooksService } from './webhooks.service.js';

/** Maximum number of events that are read at once. */
const BATCH_EVENTS = 100;

interface KeptEvent {
  account_id: string;
  event_id: string;
  event: StripeEvent;
}

/**
 * Matches the events that were kept because their charge was not known. The charge of a failed-over database may appear later, for example when an
 * operator restores it.
 *
 * Several replicas may match the same event, because its work is done once. A crash between the work and the deletion is harmless for the
 * same reason.
 */
@Injectable()
export class UnmatchedEvents extends Worker implements OnApplicationBootstrap {
  constructor(
    private readonly dataSource: DataSource,
    private readonly webhooks: WebhooksService,
    private readonly schedule: SchedulerRegistry,
    @Inject(CONFIG) private readonly config: Config,
  ) {
    super();
  }

  onApplicationBootstrap(): void {
    this.schedule.addInterval(
      'charges:unmatched-events',
      setInterval(() => void this.tick(), this.config.RECOVERY_INTERVAL_MS),
    );
  }

  protected async run(): Promise<number> {
    const matched = await this.match();
    return matched + (await this.inBatches((limit) => this.sweep(limit)));
  }

  /** Applies the events whose charge is known now. An event that fails does not stop the events behind it. */
  private async match(): Promise<number> {
    let matched = 0;
    let after = { account_id: '', event_id: '' };
    for (let rows = BATCH_EVENTS; rows === BATCH_EVENTS && !this.stopping;) {
      const events = await this.dataSource.query<KeptEvent[]>(MATCHED, [
        after.account_id,
        after.event_id,
        BATCH_EVENTS,
      ]);
      for (const kept of events) matched += Number(await this.apply(kept));
      rows = events.length;
      after = events.at(-1) ?? after;
    }
    return matched;
  }

  /** Applies an event and forgets it. The invariant: an event is forgotten only after its work is committed. */
  private async apply({ account_id, event_id, event }: KeptEvent): Promise<boolean> {
    try {
      if ((await this.webhooks.receive(event)) === 'unmatched') return false;
      await runStatement(this.dataSource, FORGET, [account_id, event_id]);
      return true;
    } catch (error) {
      this.logger.warn(
        `${event.type} ${event_id} could not be applied, and the next run tries again: ${String(error)}`,
      );
      return false;
    }
  }

  /**
   * Deletes events that were never matched, and names each of them, because money may have moved. Their names are logged before the commit: at
   * least once, because after a crash between the two the next sweep finds the events again.
   */
  private sweep(limit: number): Promise<number> {
    const { MESSAGE_RETENTION_HOURS: hours } = this.config;
    return inTransaction(this.dataSource, async ({ manager }) => {
      const old = await manager.query<OldEvent[]>(OLD, [hours * 3_600, limit]);
      for (const { event_id, type, charge_id, payment_intent } of old) {
        const about = charge_id ? `${charge_id} (${payment_intent})` : payment_intent;
        this.logger.error(
          `${type} ${event_id} is deleted, because ${about} was not found in ${hours} hours. Look at Stripe whether money moved.`,
        );
      }
      const names = [old.map(({ account_id }) => account_id), old.map(({ event_id }) => event_id)];
      if (old.length > 0) await manager.query(DELETE_OLD, names);
      return old.length;
    });
  }
}

interface OldEvent {
  account_id: string;
  event_id: string;
  type: string;
  charge_id: string | null;
  payment_intent: string;
}

// $1 account and $2 event of the previous batch, $3 limit
const MATCHED = `
  SELECT account_id, event_id, event FROM unmatched_events AS kept
  WHERE (account_id, event_id) > ($1, $2)
    AND CASE WHEN charge_id IS NULL
          THEN EXISTS (
            SELECT FROM stripe_payments AS payment
            JOIN charges ON charges.account_id = payment.account_id AND charges.id = payment.charge_id
            WHERE payment.payment_intent = kept.payment_intent)
          ELSE EXISTS (SELECT FROM charges WHERE account_id = kept.account_id AND id = kept.charge_id) END
  ORDER BY account_id, event_id LIMIT $3`;

// $1 account, $2 event
const FORGET = 'DELETE FROM unmatched_events WHERE account_id = $1 AND event_id = $2 RETURNING event_id';

// $1 retention s, $2 limit
const OLD = `
  SELECT account_id, event_id, event->>'type' AS type, charge_id, payment_intent FROM unmatched_events
  WHERE received_at <= statement_timestamp() - make_interval(secs => $1)
  ORDER BY received_at LIMIT $2 FOR UPDATE SKIP LOCKED`;

// $1 accounts, $2 events
const DELETE_OLD = `
  DELETE FROM unmatched_events USING unnest($1::text[], $2::text[]) AS old (account_id, event_id)
  WHERE unmatched_events.account_id = old.account_id AND unmatched_events.event_id = old.event_id`;
