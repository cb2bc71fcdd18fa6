import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A row of `balances`: the sum of an account's successful charges in one currency, less their refunds. */
@Entity('balances')
export class Balance {
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'balances_pkey' })
  account_id!: string;

  /** ISO 4217, lower case. */
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'balances_pkey' })
  currency!: string;

  /**
   * Minor units. pg returns a bigint as text. The conversion to a number is exact below 2 ** 53, which is 90 trillion
   * euros.
   */
  @Column({ type: 'bigint', transformer: { from: Number, to: (amount: number) => amount } })
  amount!: number;
}
