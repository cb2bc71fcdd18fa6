import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Orders1795478405000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE orders (
        account_id  text        NOT NULL,
        -- The client's own name for the order.
        order_id    text        NOT NULL,
        status      text        NOT NULL,
        -- What its items cost, in minor units of the currency. A sum, so it may be more than an integer holds.
        amount      bigint      NOT NULL,
        currency    text        NOT NULL,
        customer_id text,
        -- As they were ordered: read and compared as a whole, and never changed.
        items       jsonb       NOT NULL,
        created_at  timestamptz NOT NULL,
        paid_at     timestamptz,

        -- The natural key: an order is placed once, however long ago that was.
        CONSTRAINT orders_pkey PRIMARY KEY (account_id, order_id),
        CONSTRAINT orders_amount CHECK (amount >= 0),
        CONSTRAINT orders_currency CHECK (currency ~ '^[a-z]{3}$'),
        CONSTRAINT orders_status CHECK (status IN ('placed', 'paid')),
        CONSTRAINT orders_paid CHECK ((status = 'paid') = (paid_at IS NOT NULL))
      )`);
    // For the list, newest first.
    await db.query('CREATE INDEX orders_newest ON orders (account_id, created_at DESC, order_id DESC)');
    await db.query(`
      CREATE TABLE order_payments (
        account_id text   NOT NULL,
        -- Also of an order that is not there yet: a payment may come first. Both write this row, so that neither can
        -- overlook the other.
        order_id   text   NOT NULL,
        currency   text   NOT NULL,
        amount     bigint NOT NULL,

        CONSTRAINT order_payments_pkey PRIMARY KEY (account_id, order_id, currency)
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE orders, order_payments');
  }
}
