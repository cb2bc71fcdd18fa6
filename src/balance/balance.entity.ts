import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A row of `balances`: what all charges of an account in one currency come to. */
@Entity('balances')
export class Balance {
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'balances_pkey' })
  account_id!: string;

  /** ISO 4217, lower case. */
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'balances_pkey' })
  currency!: string;

  /** Minor units. pg gives a bigint as text; a double holds every amount below 90 trillion exactly. */
  @Column({ type: 'bigint', transformer: { from: Number, to: (amount: number) => amount } })
  amount!: number;
}
