import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Inventory1795478404000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE inventory (
        account_id text    NOT NULL,
        item_id    text    NOT NULL,
        stock      integer NOT NULL,

        CONSTRAINT inventory_pkey PRIMARY KEY (account_id, item_id),
        -- Rejects every statement that would sell more than the stock.
        CONSTRAINT inventory_stock CHECK (stock >= 0)
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE inventory');
  }
}
