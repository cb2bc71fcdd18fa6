import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Charges1795478401000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE charges (
        account_id   text        NOT NULL,
        -- 'ch_' and the request_id of the request that opened it: opening it again finds it, and ids sort by age.
        id           text        NOT NULL,
        -- Minor units of the currency, such as cents.
        amount       integer     NOT NULL,
        currency     text        NOT NULL,
        source       text        NOT NULL,
        order_id     text,
        description  text,
        metadata     jsonb       NOT NULL,
        status       text        NOT NULL,
        -- Why the bank refused, in its words.
        decline_code text,
        created_at   timestamptz NOT NULL,
        settled_at   timestamptz,

        CONSTRAINT charges_pkey PRIMARY KEY (account_id, id),
        -- Eight digits, as with Stripe: far from the end of integer, and of what a double holds exactly.
        CONSTRAINT charges_amount CHECK (amount BETWEEN 1 AND 99999999),
        CONSTRAINT charges_currency CHECK (currency ~ '^[a-z]{3}$'),
        CONSTRAINT charges_status CHECK (status IN ('pending', 'succeeded', 'failed')),
        -- Final states say when, and a failure says why.
        CONSTRAINT charges_settled CHECK ((status = 'pending') = (settled_at IS NULL)),
        CONSTRAINT charges_declined CHECK ((status = 'failed') = (decline_code IS NOT NULL))
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE charges');
  }
}
