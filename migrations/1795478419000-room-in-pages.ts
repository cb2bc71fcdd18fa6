import type { MigrationInterface, QueryRunner } from 'typeorm';

export class RoomInPages1795478419000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // A charge is updated once, when it is settled. If its page has room, the update is HOT, so the new row version needs no index entry.
    await forEachPartition(db, 'SET (fillfactor = 85)');
  }

  async down(db: QueryRunner): Promise<void> {
    await forEachPartition(db, 'RESET (fillfactor)');
  }
}

/** A partitioned table has no pages itself, so PostgreSQL accepts the setting for its partitions only. A table without partitions is its only leaf. */
const forEachPartition = (db: QueryRunner, change: string) =>
  db.query(`
    DO $$ DECLARE leaf regclass; BEGIN
      FOR leaf IN SELECT relid FROM pg_partition_tree('charges') WHERE isleaf LOOP
        EXECUTE format('ALTER TABLE %s ${change}', leaf);
      END LOOP;
    END $$`);
