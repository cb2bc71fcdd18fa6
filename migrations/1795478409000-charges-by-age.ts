import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ChargesByAge1795478409000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // The list of charges is ordered by id, because ids begin with the time. Only byte order is the order of time in every database: a
    // collation may sort a run of digits by the number that they make, so that 1a comes before 10.
    await db.query('ALTER TABLE charges ALTER COLUMN id TYPE text COLLATE "C"');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('ALTER TABLE charges ALTER COLUMN id TYPE text COLLATE "default"');
  }
}
