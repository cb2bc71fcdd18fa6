import type { DataSource } from 'typeorm';
import { sqlState } from '../../../postgres/database-errors.js';
import { runStatement } from '../../../postgres/transaction.js';
import type { Charge } from '../../charge.entity.js';

/** How Stripe answered the request to open a payment: with a PaymentIntent, or with the reason for which there is none. */
export type OpenedPayment = { kind: 'intent'; id: string } | { kind: 'refused'; reason: string };

interface Row {
  payment_intent: string | null;
  refusal: string | null;
}

/** A PaymentIntent that another charge has already. The charge stays undecided, because one payment never pays two charges. */
export class PaymentOfAnotherCharge extends Error {
  override readonly name = 'PaymentOfAnotherCharge';
}

/** The table `stripe_payments`: at most one opened payment for each charge, which never changes, and at most one charge for each PaymentIntent. */
export class StripePayments {
  constructor(private readonly dataSource: DataSource) {}

  async find({ account_id, id }: Charge): Promise<OpenedPayment | undefined> {
    const [row] = await runStatement<Row>(this.dataSource, FIND, [account_id, id]);
    return row && paymentOf(row);
  }

  /**
   * Commits an opened payment, unless the charge has one already.
   *
   * The invariant: all attempts at a charge get the same payment from here, the one whose commit was first. An attempt confirms no other
   * PaymentIntent, so it does not matter how many PaymentIntents were created.
   *
   * @returns the payment of the charge, once it is committed
   * @throws PaymentOfAnotherCharge
   */
  async keep(charge: Charge, opened: OpenedPayment): Promise<OpenedPayment> {
    const { account_id, id } = charge;
    const [intent, refusal] = opened.kind === 'intent' ? [opened.id, null] : [null, opened.reason];
    try {
      const [row] = await runStatement<Row>(this.dataSource, KEEP, [account_id, id, intent, refusal]);
      if (!row) throw new Error(`The payment of ${id} was not stored`);
      return paymentOf(row);
    } catch (error) {
      if (!isTaken(error)) throw error;
      // ON CONFLICT watches only the primary key. So two attempts that insert the same row at the same moment may meet in the other index.
      const kept = await this.find(charge);
      if (kept) return kept;
      throw new PaymentOfAnotherCharge(`${intent} is the payment of another charge, so ${id} cannot have it`, {
        cause: error,
      });
    }
  }
}

/** Whether a charge has the PaymentIntent already: unique_violation. */
const isTaken = (error: unknown) =>
  sqlState(error) === '23505' && (error as { constraint?: unknown }).constraint === 'stripe_payments_intent';

function paymentOf({ payment_intent, refusal }: Row): OpenedPayment {
  return payment_intent === null ? { kind: 'refused', reason: refusal ?? '' } : { kind: 'intent', id: payment_intent };
}

const FIND = 'SELECT payment_intent, refusal FROM stripe_payments WHERE account_id = $1 AND charge_id = $2';

const KEEP = `
  INSERT INTO stripe_payments AS first (account_id, charge_id, payment_intent, refusal, opened_at)
  VALUES ($1, $2, $3, $4, clock_timestamp())
  -- An update without a change, because RETURNING skips rows after DO NOTHING. It also waits for a first commit that is still under way.
  ON CONFLICT (account_id, charge_id) DO UPDATE SET opened_at = first.opened_at
  RETURNING payment_intent, refusal`;
