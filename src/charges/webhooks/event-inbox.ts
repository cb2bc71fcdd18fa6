import { Injectable, Logger } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { receive } from '../../messaging/index.js';
import { AWAIT_STANDBYS } from '../../postgres/replication.js';
import { inTransaction } from '../../postgres/transaction.js';
import type { Charge } from '../charge.entity.js';
import type { Outcome } from './outcome.js';
import type { StripeEvent } from './stripe-event.js';
import { WebhookEvents } from './webhook-events.js';

/** The name of the webhook in the inbox. It stays the same for ever, because the inbox remembers it across deployments. */
export const STRIPE = 'stripe';

/** The inbox for the events of charges that are known. */
@Injectable()
export class EventInbox {
  private readonly logger = new Logger(EventInbox.name);

  constructor(
    private readonly dataSource: DataSource,
    private readonly events: WebhookEvents,
  ) {}

  /** Inserts an event into the inbox and does its work, in one transaction, unless the event is there already. */
  async receive(
    event: StripeEvent,
    { account_id: accountId }: Charge,
    work: (tx: EntityManager) => Promise<void>,
  ): Promise<'applied' | 'duplicate'> {
    const isNew = await inTransaction(this.dataSource, async ({ sql, manager }) => {
      const received = await receive(manager, STRIPE, [{ accountId, id: event.id }]);
      if (received > 0) await work(manager);
      // Stripe will not send an event again that is answered with 200, so its row in the inbox must be replicated.
      else await sql.query(`SELECT ${AWAIT_STANDBYS}`);
      return received > 0;
    });
    return isNew ? 'applied' : 'duplicate';
  }

  /** Inserts an event that leaves nothing to do. */
  note(event: StripeEvent, charge: Charge): Promise<Outcome> {
    return this.receive(event, charge, () => Promise.resolve());
  }

  /**
   * Inserts an event that says that money has moved against the books. Only a person can correct that, so the alarm is raised before the commit:
   * at least once, because after a crash between the two the event is sent again.
   */
  async contradict(event: StripeEvent, charge: Charge, how: string): Promise<Outcome> {
    const received = await this.receive(event, charge, () => {
      const { type, id, intent_id } = event;
      this.logger.error(`${type} ${id} contradicts ${charge.id} of ${charge.account_id}: ${intent_id} ${how}`);
      this.events.next('contradicted');
      return Promise.resolve();
    });
    return received === 'applied' ? 'contradicted' : received;
  }
}
