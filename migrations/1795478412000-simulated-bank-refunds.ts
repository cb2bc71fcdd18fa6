import type { MigrationInterface, QueryRunner } from 'typeorm';

export class SimulatedBankRefunds1795478412000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE bank.refunds (
        -- The merchant.
        account_id      text        NOT NULL,
        -- The merchant's idempotency key. The primary key makes the bank honour it: one key has at most one refund.
        idempotency_key text        NOT NULL,
        -- The merchant's id of the charge. The simulated bank does not compare the refunds of a charge with its capture,
        -- because a bank that refuses too large refunds would hide a mistake of this service from the tests.
        charge_id       text        NOT NULL,
        amount          integer     NOT NULL,
        currency        text        NOT NULL,
        refunded_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT bank_refunds_pkey PRIMARY KEY (account_id, idempotency_key)
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE bank.refunds');
  }
}
