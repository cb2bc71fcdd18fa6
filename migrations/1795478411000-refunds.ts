import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Refunds1795478411000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE refunds (
        account_id   text        NOT NULL,
        -- 're_' and the request_id of the request that opened the refund. A retry derives the same id, so it finds the
        -- same refund.
        id           text        NOT NULL,
        -- The charge of the same account. Its row is locked while a refund is inserted, so that refunds of one charge
        -- are inserted one after the other.
        charge_id    text        NOT NULL,
        -- Minor units of the currency. If the request named no amount, this is what was left of the charge when the
        -- refund was opened, because a retry must refund the same amount.
        amount       integer     NOT NULL,
        -- The currency of the charge, for the message to the balance.
        currency     text        NOT NULL,
        -- The client's own words. The bank does not get them.
        reason       text,
        status       text        NOT NULL,
        -- The reason that the bank gave for refusing the refund.
        failure_code text,
        created_at   timestamptz NOT NULL,
        settled_at   timestamptz,

        CONSTRAINT refunds_pkey PRIMARY KEY (account_id, id),
        -- A refund is at most as large as its charge.
        CONSTRAINT refunds_amount CHECK (amount BETWEEN 1 AND 99999999),
        CONSTRAINT refunds_currency CHECK (currency ~ '^[a-z]{3}$'),
        CONSTRAINT refunds_status CHECK (status IN ('pending', 'succeeded', 'failed')),
        -- A refund that is not pending has a time of settlement, and a failed refund has a reason.
        CONSTRAINT refunds_settled CHECK ((status = 'pending') = (settled_at IS NULL)),
        CONSTRAINT refunds_failed CHECK ((status = 'failed') = (failure_code IS NOT NULL))
      )`);
    // The refunds of a charge are summed up for each new refund and for each charge that is read.
    await db.query('CREATE INDEX refunds_charge ON refunds (account_id, charge_id)');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE refunds');
  }
}
