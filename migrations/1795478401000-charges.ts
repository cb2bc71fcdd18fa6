import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Charges1795478401000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE charges (
        account_id   text        NOT NULL,
        -- 'ch_' and the request_id of the request that opened the charge. A retry derives the same id, so it finds the
        -- same charge. Ids sort by age.
        id           text        NOT NULL,
        -- Minor units of the currency, such as cents.
        amount       integer     NOT NULL,
        currency     text        NOT NULL,
        source       text        NOT NULL,
        order_id     text,
        description  text,
        metadata     jsonb       NOT NULL,
        status       text        NOT NULL,
        -- The reason that the bank gave for a decline.
        decline_code text,
        created_at   timestamptz NOT NULL,
        settled_at   timestamptz,

        CONSTRAINT charges_pkey PRIMARY KEY (account_id, id),
        -- Eight digits, the limit that Stripe has. Such an amount fits into an integer and into a double without loss.
        CONSTRAINT charges_amount CHECK (amount BETWEEN 1 AND 99999999),
        CONSTRAINT charges_currency CHECK (currency ~ '^[a-z]{3}$'),
        CONSTRAINT charges_status CHECK (status IN ('pending', 'succeeded', 'failed')),
        -- A charge that is not pending has a time of settlement, and a failed charge has a reason.
        CONSTRAINT charges_settled CHECK ((status = 'pending') = (settled_at IS NULL)),
        CONSTRAINT charges_declined CHECK ((status = 'failed') = (decline_code IS NOT NULL))
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE charges');
  }
}
