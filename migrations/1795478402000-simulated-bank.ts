import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Creates the tables of the simulated bank, in their own schema, because a real bank is not part of our database. */
export class SimulatedBank1795478402000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query('CREATE SCHEMA bank');
    await db.query(`
      CREATE TABLE bank.captures (
        -- The merchant.
        account_id      text        NOT NULL,
        -- The merchant's idempotency key. The primary key makes the bank honour it: one key has at most one capture.
        idempotency_key text        NOT NULL,
        -- The merchant's id of the charge. It is not unique, because a bank captures once for each idempotency key, not
        -- for each charge.
        charge_id       text        NOT NULL,
        amount          integer     NOT NULL,
        currency        text        NOT NULL,
        captured_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
        CONSTRAINT captures_pkey PRIMARY KEY (account_id, idempotency_key)
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP SCHEMA bank CASCADE');
  }
}
