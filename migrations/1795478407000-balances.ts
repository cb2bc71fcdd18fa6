import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Balances1795478407000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE balances (
        account_id text   NOT NULL,
        currency   text   NOT NULL,
        -- Minor units, of all charges together.
        amount     bigint NOT NULL,

        CONSTRAINT balances_pkey PRIMARY KEY (account_id, currency)
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE balances');
  }
}
