import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

export type RefundStatus = 'pending' | 'succeeded' | 'failed';

/** A row of `refunds`. Columns, members and JSON have the same names, so nothing has to be mapped. */
@Entity('refunds')
@Index('refunds_charge', ['account_id', 'charge_id'])
@Check('refunds_amount', 'amount BETWEEN 1 AND 99999999')
@Check('refunds_currency', "currency ~ '^[a-z]{3}$'")
@Check('refunds_status', "status IN ('pending', 'succeeded', 'failed')")
@Check('refunds_settled', "(status = 'pending') = (settled_at IS NULL)")
@Check('refunds_failed', "(status = 'failed') = (failure_code IS NOT NULL)")
@Check('refunds_given_up', "status = 'failed' OR NOT is_given_up")
export class Refund {
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'refunds_pkey' })
  account_id!: string;

  /** `re_` and the id of the request that opened the refund. It is also the idempotency key that the bank gets. */
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'refunds_pkey' })
  id!: string;

  @Column({ type: 'text' })
  charge_id!: string;

  /** Minor units of the currency, such as cents. */
  @Column({ type: 'integer' })
  amount!: number;

  /** The currency of the charge: ISO 4217, lower case. */
  @Column({ type: 'text' })
  currency!: string;

  @Column({ type: 'text', nullable: true })
  reason!: string | null;

  @Column({ type: 'text' })
  status!: RefundStatus;

  /** The reason for which the bank refused the refund, as the bank names it. */
  @Column({ type: 'text', nullable: true })
  failure_code!: string | null;

  /** The bank made the refund and gave it up later. Only a failed refund can be given up. */
  @Column({ type: 'boolean', default: false })
  is_given_up!: boolean;

  @Column({ type: 'timestamptz' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  settled_at!: Date | null;
}
