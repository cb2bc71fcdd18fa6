import type { MigrationInterface, QueryRunner } from 'typeorm';

/** When recovery takes a request over again: copy this file with the module as well. It touches nothing but its table. */
export class IdempotencyRecovery1795478408000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // Recovery leaves the request alone until then; NULL before it has taken the request over for the first time. Only recovery reads
    // it: a retry of the client is held up by locked_until alone.
    await db.query('ALTER TABLE processed_requests ADD COLUMN recover_at timestamptz');
    // For recovery: the accounts of an operation in turn, and of each account the request that is due first. Holds what is in progress
    // now. It is an expression because a row is due when its lease and its pause are both over.
    await db.query(`
      CREATE INDEX processed_requests_recoverable
      ON processed_requests (operation, account_id, (GREATEST(locked_until, recover_at))) WHERE completed_at IS NULL`);
    // Replaced by the index above: a claim writes to as many indexes as before.
    await db.query('DROP INDEX processed_requests_unfinished');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE INDEX processed_requests_unfinished ON processed_requests (locked_until) WHERE completed_at IS NULL`);
    await db.query('DROP INDEX processed_requests_recoverable');
    await db.query('ALTER TABLE processed_requests DROP COLUMN recover_at');
  }
}
