import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ChargesByAge1795478409000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // The list of charges is ordered by id, because ids begin with the time. A collation may sort a run of digits by the number that they
    // make, so that 1a comes before 10, and then the column needs byte order. Elsewhere the column stays as it is, because the change builds
    // its index anew under a lock, and running replicas lose the statements that they have prepared.
    await db.query(`
      DO $$ BEGIN
        IF NOT (SELECT bool_and(younger > older)
                FROM (VALUES ('ch_1a', 'ch_10'), ('ch_10', 'ch_09'), ('ch_a0', 'ch_9f'), ('ch_b1', 'ch_af')) AS ids (younger, older)) THEN
          ALTER TABLE charges ALTER COLUMN id TYPE text COLLATE "C";
        END IF;
      END $$`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('ALTER TABLE charges ALTER COLUMN id TYPE text COLLATE "default"');
  }
}
