import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Sets how often PostgreSQL vacuums and analyzes `processed_requests`. Copy this file together with the module. */
export class IdempotencyUpkeep1795478400500 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // Every request leaves one dead row when it is completed, and another dead row when its key is swept. By default
    // autovacuum starts when a fifth of the table is dead. With five million keys this is one million dead rows, most
    // of them at the end of the index that the sweep reads from. With a scale factor of 0.02, autovacuum starts when a
    // fiftieth of the table is dead, so it runs ten times as often and has a tenth of the work each time.
    await db.query(`
      ALTER TABLE processed_requests SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02)`);
    // The fillfactor stays at 100. Free space in a page helps only updates that change no indexed column (HOT updates).
    // A completion moves the row from one partial index to the other, so the free space would stay unused until the
    // next vacuum, and would be read with the page.
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      ALTER TABLE processed_requests RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor)`);
  }
}
