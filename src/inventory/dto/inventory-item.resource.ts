import { ApiProperty } from '@nestjs/swagger';
import type { InventoryItem } from '../inventory-item.entity.js';

/** An item in the form that clients receive. */
export class InventoryItemResource {
  @ApiProperty({ example: 'espresso_beans' })
  item_id!: string;

  @ApiProperty({ enum: ['inventory_item'] })
  object!: 'inventory_item';

  @ApiProperty({ type: 'integer', example: 10, description: 'Number of pieces that can still be ordered' })
  stock!: number;
}

export const toResource = ({ item_id, stock }: Pick<InventoryItem, 'item_id' | 'stock'>): InventoryItemResource => ({
  item_id,
  object: 'inventory_item',
  stock,
});
