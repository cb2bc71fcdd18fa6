import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { runStatement } from '../../postgres/transaction.js';
import type { Charge } from '../charge.entity.js';
import type { Outcome } from './outcome.js';
import { PaymentEvents } from './payment-events.js';
import type { StripeEvent } from './stripe-event.js';

/**
 * Receives the events of Stripe: messages that are delivered at least once, in any order, and sent again for three days until they are answered
 * with 200. So 200 means that the work of the event, or the event itself, is committed.
 */
@Injectable()
export class WebhooksService {
  constructor(
    private readonly dataSource: DataSource,
    private readonly payments: PaymentEvents,
  ) {}

  async receive(event: StripeEvent): Promise<Outcome> {
    const charge = await this.chargeOf(event);
    return charge ? this.payments.apply(event, charge) : this.keep(event);
  }

  private async chargeOf({ charge, intent_id }: StripeEvent): Promise<Charge | undefined> {
    const { manager } = this.dataSource;
    const [found] = charge
      ? await manager.query<Charge[]>(BY_NAME, [charge.account_id, charge.id])
      : await manager.query<Charge[]>(BY_INTENT, [intent_id]);
    return found;
  }

  /** Keeps an event until its charge is known. The row is the record that the event was received. */
  private async keep(event: StripeEvent): Promise<Outcome> {
    const { id, charge, intent_id } = event;
    const values = [charge?.account_id ?? '', id, charge?.id ?? null, intent_id, JSON.stringify(event)];
    const kept = await runStatement(this.dataSource, KEEP, values);
    return kept.length > 0 ? 'unmatched' : 'duplicate';
  }
}

// $1 account, $2 charge
const BY_NAME = 'SELECT * FROM charges WHERE account_id = $1 AND id = $2';

// $1 PaymentIntent
const BY_INTENT = `
  SELECT charges.* FROM stripe_payments AS payment
  JOIN charges ON charges.account_id = payment.account_id AND charges.id = payment.charge_id
  WHERE payment.payment_intent = $1`;

// $1 account, $2 event, $3 charge, $4 PaymentIntent, $5 the parts of the event
const KEEP = `
  INSERT INTO unmatched_events (account_id, event_id, charge_id, payment_intent, event, received_at)
  VALUES ($1, $2, $3, $4, $5, clock_timestamp())
  ON CONFLICT (account_id, event_id) DO NOTHING
  RETURNING event_id`;
