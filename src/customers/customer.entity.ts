import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

export type CustomerStatus = 'active' | 'inactive';

/**
 * A row of `customers`. The version is a plain column: TypeORM's `@VersionColumn` counts, and does not look whether anybody
 * else has counted meanwhile.
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

  /** Chosen by the client. */
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'customers_pkey' })
  id!: string;

  @Column({ type: 'text', nullable: true })
  name!: string | null;

  @Column({ type: 'text', nullable: true })
  email!: string | null;

  @Column({ type: 'text', nullable: true })
  status!: CustomerStatus | null;

  /** Counts changes, never back. */
  @Column({ type: 'integer' })
  version!: number;

  @Column({ type: 'timestamptz', nullable: true })
  deleted_at!: Date | null;
}
