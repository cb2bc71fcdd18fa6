import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

export type CustomerStatus = 'active' | 'inactive';

/**
 * A row of `customers`. The version is a plain column, because TypeORM's `@VersionColumn` increments the version but
 * does not put the version that was read into the condition of the UPDATE.
 */
@Entity('customers')
@Check('customers_status', "status IN ('active', 'inactive')")
@Check(
  'customers_deleted',
  'CASE WHEN deleted_at IS NULL THEN num_nulls(name, email, status) = 0 ELSE num_nonnulls(name, email, status) = 0 END',
)
export class Customer {
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'customers_pkey' })
  account_id!: string;

  /** The name that the client chose for the customer. */
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'customers_pkey' })
  id!: string;

  @Column({ type: 'text', nullable: true })
  name!: string | null;

  @Column({ type: 'text', nullable: true })
  email!: string | null;

  @Column({ type: 'text', nullable: true })
  status!: CustomerStatus | null;

  /** Increases with every change and every deletion, and never decreases. */
  @Column({ type: 'integer' })
  version!: number;

  /** Set while the customer is deleted. The row stays, because it keeps the version. */
  @Column({ type: 'timestamptz', nullable: true })
  deleted_at!: Date | null;
}
