import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';

export type OrderStatus = 'placed' | 'paid';

/** One item of an order, with its quantity and its price. */
export interface OrderLine {
  item_id: string;
  quantity: number;
  /** Price of one piece, in minor units of the order's currency. */
  unit_amount: number;
}

/** A row of `orders`. */
@Entity('orders')
@Index('orders_newest', { synchronize: false })
@Check('orders_amount', 'amount >= 0')
@Check('orders_currency', "currency ~ '^[a-z]{3}$'")
@Check('orders_status', "status IN ('placed', 'paid')")
@Check('orders_paid', "(status = 'paid') = (paid_at IS NOT NULL)")
export class Order {
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'orders_pkey' })
  account_id!: string;

  /** The name that the client chose for the order. */
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'orders_pkey' })
  order_id!: string;

  @Column({ type: 'text' })
  status!: OrderStatus;

  /**
   * Total price of the items, in minor units. pg returns a bigint as text. The conversion to a number is exact, because
   * the limits of `PlaceOrder` keep every amount below 10 ** 15.
   */
  @Column({ type: 'bigint', transformer: { from: Number, to: (amount: number) => amount } })
  amount!: number;

  /** ISO 4217, lower case. */
  @Column({ type: 'text' })
  currency!: string;

  @Column({ type: 'text', nullable: true })
  customer_id!: string | null;

  @Column({ type: 'jsonb' })
  items!: OrderLine[];

  @Column({ type: 'timestamptz' })
  created_at!: Date;

  @Column({ type: 'timestamptz', nullable: true })
  paid_at!: Date | null;
}
