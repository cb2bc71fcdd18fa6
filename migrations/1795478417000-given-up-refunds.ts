import type { MigrationInterface, QueryRunner } from 'typeorm';

export class GivenUpRefunds1795478417000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // Whether the bank made the refund and gave it up later, as Stripe does if the bank of the card sends the money back. The sum that Stripe reports may
    // contain such a refund, so the refund counts as our own part of the sum. A refund that the bank refused is in no report. The default
    // holds for older rows and for replicas of an older version, which know only refusals.
    await db.query('ALTER TABLE refunds ADD COLUMN is_given_up boolean NOT NULL DEFAULT false');
    await db.query(`ALTER TABLE refunds ADD CONSTRAINT refunds_given_up CHECK (status = 'failed' OR NOT is_given_up)`);
  }

  async down(db: QueryRunner): Promise<void> {
    // The constraint goes with its column.
    await db.query('ALTER TABLE refunds DROP COLUMN is_given_up');
  }
}
