import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The memory of the simulated bank: a schema of its own, as a bank is not part of our database. */
export class SimulatedBank1795478402000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query('CREATE SCHEMA bank');
    await db.query(`
      CREATE TABLE bank.captures (
        -- The merchant.
        account_id      text        NOT NULL,
        -- The merchant's idempotency key, which the bank honours: one capture for each.
        idempotency_key text        NOT NULL,
        -- The merchant's name for the charge. Not unique: a bank takes money as often as it is told to by new keys.
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
