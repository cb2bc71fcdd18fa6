import type { EntityManager } from 'typeorm';
import { nameWithin } from '../../postgres/lock-order.js';
import type { Charge } from '../charge.entity.js';

/** A charge whose row the transaction has locked, and how much of it can still be refunded, in minor units. */
export interface Refundable {
  charge: Charge;
  left: number;
}

type ChargeName = Pick<Charge, 'account_id' | 'id'>;

/**
 * Locks the rows of charges, and computes how much of each charge is left.
 *
 * A pending refund counts like a succeeded one, because the bank may have paid it already. Nothing is left of a charge that has not
 * succeeded.
 *
 * The invariant: the refunds of a charge never exceed the charge. It holds because a transaction that inserts a refund holds the lock of
 * the charge until it commits, so the sum contains every refund that was inserted before.
 *
 * @returns the charges that exist; the key is {@link nameWithin} of the account and the charge
 */
export async function lockRefundable(
  tx: EntityManager,
  charges: readonly ChargeName[],
): Promise<Map<string, Refundable>> {
  const locked = await lockCharges(tx, charges);
  // A statement of its own, because it must begin when the rows are locked: at READ COMMITTED a statement sees the refunds that were
  // committed before it began, and the LOCK may have waited for such a commit.
  const sums = await tx.query<RefundedRow[]>(REFUNDED, [namesOf(charges)]);
  const refunded = new Map(
    sums.map(({ account_id, charge_id, amount }) => [nameWithin(account_id, charge_id), amount]),
  );
  return new Map(
    locked.map((charge) => {
      const name = nameWithin(charge.account_id, charge.id);
      const left = charge.status === 'succeeded' ? Math.max(0, charge.amount - (refunded.get(name) ?? 0)) : 0;
      return [name, { charge, left }];
    }),
  );
}

/** Locks the rows of charges until the transaction ends. Refunds of a charge are inserted and counted only under this lock. */
export const lockCharges = (tx: EntityManager, charges: readonly ChargeName[]): Promise<Charge[]> =>
  tx.query<Charge[]>(LOCK, [namesOf(charges)]);

const namesOf = (charges: readonly ChargeName[]) =>
  JSON.stringify(charges.map(({ account_id, id }) => ({ account_id, id })));

interface RefundedRow {
  account_id: string;
  charge_id: string;
  amount: number;
}

const WANTED = 'SELECT account_id, id FROM jsonb_to_recordset($1::jsonb) AS wanted (account_id text, id text)';

// ORDER BY makes every transaction lock the rows in the same order, so that two transactions cannot deadlock.
const LOCK = `
  SELECT charge.* FROM charges AS charge WHERE (charge.account_id, charge.id) IN (${WANTED})
  ORDER BY charge.account_id, charge.id
  FOR UPDATE`;

const REFUNDED = `
  SELECT account_id, charge_id, sum(amount)::integer AS amount FROM (
    SELECT account_id, charge_id, amount FROM refunds WHERE status <> 'failed'
    UNION ALL SELECT account_id, charge_id, elsewhere FROM reported_refunds) AS refunded
  WHERE (account_id, charge_id) IN (${WANTED})
  GROUP BY account_id, charge_id`;

/**
 * Returns an SQL expression for the amount of a charge that was refunded, here or elsewhere, in minor units. Pending refunds do not count.
 *
 * @param charge the SQL name of the charge's row. The name becomes part of the SQL, so it must be a constant.
 */
export const amountRefunded = (charge: string) => `(
  SELECT coalesce(sum(refund.amount), 0)::integer FROM refunds AS refund
  WHERE refund.account_id = ${charge}.account_id AND refund.charge_id = ${charge}.id AND refund.status = 'succeeded')
  + coalesce((
    SELECT elsewhere FROM reported_refunds AS reported
    WHERE reported.account_id = ${charge}.account_id AND reported.charge_id = ${charge}.id), 0)`;
