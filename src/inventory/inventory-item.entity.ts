import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** A row of `inventory`. */
@Entity('inventory')
@Check('inventory_stock', 'stock >= 0')
export class InventoryItem {
  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'inventory_pkey' })
  account_id!: string;

  @PrimaryColumn({ type: 'text', primaryKeyConstraintName: 'inventory_pkey' })
  item_id!: string;

  /** Number of pieces that can still be ordered. */
  @Column({ type: 'integer' })
  stock!: number;
}
