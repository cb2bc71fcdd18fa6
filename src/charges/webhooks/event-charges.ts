import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import type { Charge } from '../charge.entity.js';
import { type OpenedPayment, PaymentOfAnotherCharge, StripePayments } from '../gateway/stripe/stripe.payments.js';
import type { StripeEvent } from './stripe-event.js';

/** The payment of a charge, as an event reports it. */
export interface ReportedPayment {
  intentId: string;
  amount: number;
  currency: string;
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
   */
  async isPayment(charge: Charge, reported: ReportedPayment): Promise<boolean> {
    return isSame(charge, reported, await this.payments.find(charge));
  }

  /**
   * Like {@link isPayment}, for a payment that has taken money and a charge that is pending. A failover may have lost the row of the payment. Then
   * the payment becomes the one of the charge again, so that no attempt can confirm another one, unless another charge has it.
   */
  async adopts(charge: Charge, reported: ReportedPayment): Promise<boolean> {
    const opened: OpenedPayment = { kind: 'intent', id: reported.intentId };
    if (!isSame(charge, reported, opened)) return false;
    try {
      return isSame(charge, reported, await this.payments.keep(charge, opened));
    } catch (error) {
      if (error instanceof PaymentOfAnotherCharge) return false;
      throw error;
    }
  }

  /** Whether a failover has lost the payment of a charge that is not settled yet. An attempt finds the payment again. */
  async hasLostPayment(charge: Charge): Promise<boolean> {
    return charge.status === 'pending' && !(await this.payments.find(charge));
  }
}

const isSame = (charge: Charge, { intentId, amount, currency }: ReportedPayment, payment: OpenedPayment | undefined) =>
  amount === charge.amount && currency === charge.currency && payment?.kind === 'intent' && payment.id === intentId;

// $1 account, $2 charge
const BY_NAME = 'SELECT * FROM charges WHERE account_id = $1 AND id = $2';

// $1 PaymentIntent
const BY_INTENT = `
  SELECT charges.* FROM stripe_payments AS payment
  JOIN charges ON charges.account_id = payment.account_id AND charges.id = payment.charge_id
  WHERE payment.payment_intent = $1`;
