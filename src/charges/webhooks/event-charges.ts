import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { Charge } from '../charge.entity.js';
import { StripePayments } from '../gateway/stripe/stripe.payments.js';
import type { StripeEvent } from './stripe-event.js';

/** The payment of a charge, as an event reports it. */
export interface ReportedPayment {
  intentId: string;
  amount: number;
  currency: string;
  hasTakenMoney: boolean;
}

/** Finds the charges of events. */
@Injectable()
export class EventCharges {
  constructor(
    private readonly dataSource: DataSource,
    private readonly payments: StripePayments,
  ) {}

  /** The charge that an event names, or the charge of its PaymentIntent if the event names no charge. */
  async of({ charge, intent_id }: StripeEvent): Promise<Charge | undefined> {
    const { manager } = this.dataSource;
    const [found] = charge
      ? await manager.query<Charge[]>(BY_NAME, [charge.account_id, charge.id])
      : await manager.query<Charge[]>(BY_INTENT, [intent_id]);
    return found;
  }

  /**
   * Whether a payment is the one that the charge confirms. The metadata of a payment alone prove nothing, because any user of the Stripe account
   * can write them.
   *
   * A failover may have lost the row of the payment. If money was taken, the payment becomes the one of the charge again, so that no attempt can
   * confirm another one.
   */
  async isPayment(charge: Charge, { intentId, amount, currency, hasTakenMoney }: ReportedPayment): Promise<boolean> {
    if (amount !== charge.amount || currency !== charge.currency) return false;
    const payment = hasTakenMoney
      ? await this.payments.keep(charge, { kind: 'intent', id: intentId })
      : await this.payments.find(charge);
    return payment?.kind === 'intent' && payment.id === intentId;
  }
}

// $1 account, $2 charge
const BY_NAME = 'SELECT * FROM charges WHERE account_id = $1 AND id = $2';

// $1 PaymentIntent
const BY_INTENT = `
  SELECT charges.* FROM stripe_payments AS payment
  JOIN charges ON charges.account_id = payment.account_id AND charges.id = payment.charge_id
  WHERE payment.payment_intent = $1`;
