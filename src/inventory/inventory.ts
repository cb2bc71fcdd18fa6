import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { Problem } from '../http/problem.js';
import { InventoryItem } from './inventory-item.entity.js';

/** The stock of an account. Nothing in here adds to a number or takes from it, so everything may be repeated. */
@Injectable()
export class Inventory {
  constructor(@InjectRepository(InventoryItem) private readonly items: Repository<InventoryItem>) {}

  /** @returns whether the item is new */
  async set(accountId: string, itemId: string, stock: number): Promise<boolean> {
    const [row] = await this.items.query<{ is_new: boolean }[]>(UPSERT, [accountId, itemId, stock]);
    return row?.is_new ?? false;
  }

  /** @throws Problem 404 `not_found` */
  async find(accountId: string, itemId: string): Promise<InventoryItem> {
    const item = await this.items.findOneBy({ account_id: accountId, item_id: itemId });
    if (!item) throw new Problem('not_found', 'There is no item with this id.');
    return item;
  }

  async remove(accountId: string, itemId: string): Promise<void> {
    await this.items.delete({ account_id: accountId, item_id: itemId });
  }
}

// Only a row that was there has been locked by an earlier transaction: by this one, before it was updated.
const UPSERT = `
  INSERT INTO inventory (account_id, item_id, stock) VALUES ($1, $2, $3)
  ON CONFLICT (account_id, item_id) DO UPDATE SET stock = excluded.stock
  RETURNING xmax = 0 AS is_new`;
