import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, Repository } from 'typeorm';
import { Problem } from '../http/problem.js';
import { runStatement } from '../postgres/transaction.js';
import { type InventoryItemResource, toResource } from './dto/inventory-item.resource.js';
import { InventoryItem } from './inventory-item.entity.js';

/**
 * Sets, reads and removes the stock of one account. Each operation is idempotent without a key, because it writes an
 * absolute value or deletes.
 */
@Injectable()
export class InventoryService {
  constructor(
    private readonly dataSource: DataSource,
    @InjectRepository(InventoryItem) private readonly items: Repository<InventoryItem>,
  ) {}

  /** @returns the item, and whether this call created it */
  async set(
    accountId: string,
    itemId: string,
    stock: number,
  ): Promise<{ item: InventoryItemResource; isNew: boolean }> {
    const [row] = await runStatement<{ is_new: boolean }>(this.dataSource, UPSERT, [accountId, itemId, stock]);
    return { item: toResource({ item_id: itemId, stock }), isNew: row?.is_new ?? false };
  }

  /** @throws Problem 404 `not_found` */
  async find(accountId: string, itemId: string): Promise<InventoryItemResource> {
    const item = await this.items.findOneBy({ account_id: accountId, item_id: itemId });
    if (!item) throw new Problem('not_found', 'There is no item with this item_id.');
    return toResource(item);
  }

  /** Removes the item. If it does not exist, nothing changes. */
  async remove(accountId: string, itemId: string): Promise<void> {
    await runStatement(this.dataSource, DELETE, [accountId, itemId]);
  }
}

// xmax holds the transaction that has locked the row. ON CONFLICT DO UPDATE locks an existing row before it updates the
// row, so xmax is 0 only if this statement inserted the row.
const UPSERT = `
  INSERT INTO inventory (account_id, item_id, stock) VALUES ($1, $2, $3)
  ON CONFLICT (account_id, item_id) DO UPDATE SET stock = excluded.stock
  RETURNING xmax = 0 AS is_new`;

const DELETE = `DELETE FROM inventory WHERE account_id = $1 AND item_id = $2`;
