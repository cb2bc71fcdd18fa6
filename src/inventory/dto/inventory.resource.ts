import { ApiProperty } from '@nestjs/swagger';
import type { InventoryItem } from '../inventory-item.entity.js';

/** An item as clients see it. */
export class InventoryItemResource {
  @ApiProperty({ example: 'espresso_beans' })
  item_id!: string;

  @ApiProperty({ enum: ['inventory_item'] })
  object!: 'inventory_item';

  @ApiProperty({ type: 'integer', example: 10, description: 'Pieces there are to sell' })
  stock!: number;
}

export const toResource = ({ item_id, stock }: Pick<InventoryItem, 'item_id' | 'stock'>): InventoryItemResource => ({
  item_id,
  object: 'inventory_item',
  stock,
});
