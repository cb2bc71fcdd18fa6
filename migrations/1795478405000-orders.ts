import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Orders1795478405000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE orders (
        account_id  text        NOT NULL,
        -- The name that the client chose for the order.
        order_id    text        NOT NULL,
        status      text        NOT NULL,
        -- Total price of the items, in minor units of the currency. The type is bigint, because the sum may exceed an
        -- integer.
        amount      bigint      NOT NULL,
        currency    text        NOT NULL,
        customer_id text,
        -- The items as they were ordered. They are one jsonb value, because they are read and compared together and
        -- never change.
        items       jsonb       NOT NULL,
        created_at  timestamptz NOT NULL,
        paid_at     timestamptz,

        -- The natural key: an order with this name is placed once, without a time limit.
        CONSTRAINT orders_pkey PRIMARY KEY (account_id, order_id),
        CONSTRAINT orders_amount CHECK (amount >= 0),
        CONSTRAINT orders_currency CHECK (currency ~ '^[a-z]{3}$'),
        CONSTRAINT orders_status CHECK (status IN ('placed', 'paid')),
        CONSTRAINT orders_paid CHECK ((status = 'paid') = (paid_at IS NOT NULL))
      )`);
    // The list of orders reads this index, newest first.
    await db.query('CREATE INDEX orders_newest ON orders (account_id, created_at DESC, order_id DESC)');
    await db.query(`
      CREATE TABLE order_payments (
        account_id text   NOT NULL,
        -- The order may not exist yet, because a payment may arrive before its order. A payment and a new order both
        -- write this row, so the later transaction sees what the earlier transaction committed.
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
