import type { MigrationInterface, QueryRunner } from 'typeorm';

export class MailedOrders1795478410000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // Empty if the limit of mails is in Redis.
    await db.query(`
      CREATE TABLE mailed_orders (
        account_id text        NOT NULL,
        order_id   text        NOT NULL,
        -- The last mail. An order gets at most one mail a day, so an older row has no meaning and is deleted.
        mailed_at  timestamptz NOT NULL,

        CONSTRAINT mailed_orders_pkey PRIMARY KEY (account_id, order_id)
      )`);
    // The sweep searches for old rows.
    await db.query('CREATE INDEX mailed_orders_mailed_at ON mailed_orders (mailed_at)');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE mailed_orders');
  }
}
