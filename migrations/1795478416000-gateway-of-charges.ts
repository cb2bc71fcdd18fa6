import type { MigrationInterface, QueryRunner } from 'typeorm';

export class GatewayOfCharges1795478416000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // The gateway that is asked for the money: simulated, http or stripe. Another gateway does not know what this gateway has
    // captured, so it must never be asked for the same charge. NULL for charges of earlier versions.
    await db.query('ALTER TABLE charges ADD COLUMN gateway text');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('ALTER TABLE charges DROP COLUMN gateway');
  }
}
