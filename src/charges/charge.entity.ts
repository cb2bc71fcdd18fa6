import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

export type ChargeStatus = 'pending' | 'succeeded' | 'failed';

/** A row of `charges`. Columns, members and JSON have the same names, so nothing has to be mapped. */
@Entity('charges')
@Check('charges_amount', 'amount BETWEEN 1 AND 99999999')
@Check('charges_currency', "currency ~ '^[a-z]{3}$'")
@Check('charges_status', "status IN ('pending', 'succeeded', 'failed')")
@Check('charges_settled', "(status = 'pending') = (settled_at IS NULL)")
@Check('charges_declined', "(status = 'failed') = (decline_code IS NOT NULL)")
export class Charge {
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'charges_pkey' })
  account_id!: string;

  /** `ch_` and the id of the request that opened the charge. Ids sort by age: see the migration `charges-by-age`. */
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'charges_pkey' })
  id!: string;

  /** Minor units of the currency, such as cents. */
  @Column({ type: 'integer' })
  amount!: number;

  /** ISO 4217, lower case. */
  @Column({ type: 'text' })
  currency!: string;

  @Column({ type: 'text' })
  source!: string;

  @Column({ type: 'text', nullable: true })
  order_id!: string | null;

  @Column({ type: 'text', nullable: true })
  description!: string | null;

  @Column({ type: 'jsonb' })
  metadata!: Record<string, string>;

  @Column({ type: 'text' })
  status!: ChargeStatus;

  /** The reason for which the bank declined, as the bank names it. */
  @Column({ type: 'text', nullable: true })
  decline_code!: string | null;

  /** The gateway that is asked for the money. `null` for charges of earlier versions. */
  @Column({ type: 'text', nullable: true })
  gateway!: string | null;

  @Column({ type: 'timestamptz' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  settled_at!: Date | null;
}
