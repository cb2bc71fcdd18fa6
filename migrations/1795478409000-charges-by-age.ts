import type { MigrationInterface, QueryRunner } from 'typeorm';

export class ChargesByAge1795478409000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // The list of charges is sorted by id, because an id has the time of its creation after the prefix `ch_`. Some
    // collations compare digits as numbers, so that 1a sorts before 10. Only a database with such a collation gets a
    // column in byte order. Other databases stay unchanged, because ALTER rebuilds the index under a lock and
    // invalidates the statements that running replicas have prepared.
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
