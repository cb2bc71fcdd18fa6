import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { runStatement } from '../../postgres/transaction.js';
import { EventCharges } from './event-charges.js';
import type { Outcome } from './outcome.js';
import { PaymentEvents } from './payment-events.js';
import { ReversalEvents } from './reversal-events.js';
import type { StripeEvent } from './stripe-event.js';

/**
 * Receives the events of Stripe: messages that are delivered at least once, in any order, and sent again for three days until they are answered
 * with 200. So 200 means that the work of the event, or the event itself, is committed.
 */
@Injectable()
export class WebhooksService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly charges: EventCharges,
    private readonly payments: PaymentEvents,
    private readonly reversals: ReversalEvents,
  ) {}

  async receive(event: StripeEvent): Promise<Outcome> {
    const charge = await this.charges.of(event);
    if (!charge) return this.keep(event);
    switch (event.about) {
      case 'payment':
        return this.payments.apply(event, charge);
      case 'refund':
        return this.reversals.refund(event, charge);
      case 'dispute':
        return this.reversals.dispute(event, charge);
    }
  }

  /**
   * Keeps an event until its charge is known. The row is the record that the event was received. If the row is there already, the event is not a
   * duplicate, because its work is not done.
   */
  private async keep(event: StripeEvent): Promise<Outcome> {
    const { id, charge, intent_id } = event;
    const values = [charge?.account_id ?? '', id, charge?.id ?? null, intent_id, JSON.stringify(event)];
    await runStatement(this.dataSource, KEEP, values);
    return 'unmatched';
  }
}

// $1 account, $2 event, $3 charge, $4 PaymentIntent, $5 the parts of the event
const KEEP = `
  INSERT INTO unmatched_events (account_id, event_id, charge_id, payment_intent, event, received_at)
  VALUES ($1, $2, $3, $4, $5, clock_timestamp())
  ON CONFLICT (account_id, event_id) DO NOTHING`;
