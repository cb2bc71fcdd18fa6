import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Balances1795478407000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE balances (
        account_id text   NOT NULL,
        currency   text   NOT NULL,
        -- Sum of all successful charges, in minor units.
        amount     bigint NOT NULL,

        CONSTRAINT balances_pkey PRIMARY KEY (account_id, currency)
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE balances');
  }
}
