import type { MigrationInterface, QueryRunner } from 'typeorm';

/** How PostgreSQL looks after processed_requests: copy this file with the module as well. It touches nothing else. */
export class IdempotencyUpkeep1795478400500 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // Every request leaves one dead row when it is completed, and another when its key is swept. By default autovacuum
    // waits until a fifth of the table is dead: of five million keys, a million, most of them at the end of the index
    // that the sweep reads from. At a fiftieth it comes ten times as often, and each time has a tenth to do.
    await db.query(`
      ALTER TABLE processed_requests SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02)`);
    // The fillfactor stays at 100. Room left in a page helps updates that touch no index; a completion changes what the
    // two partial indexes are about, so the room would stay empty until the next vacuum and be read all the same.
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      ALTER TABLE processed_requests RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor)`);
  }
}
