import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Adds the time at which recovery may try a request again. Copy this file together with the module. It changes only
 * `processed_requests`.
 */
export class IdempotencyRecovery1795478408000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // Recovery does not take the request over before this time. The column is NULL until recovery has taken the request
    // over for the first time. Only recovery reads the column, because a retry of the client has to wait only for
    // locked_until.
    await db.query('ALTER TABLE processed_requests ADD COLUMN recover_at timestamptz');
    // Recovery reads this index. For one operation it goes through the accounts in turn, and takes the request of each
    // account that is due first. The index contains only requests that are in progress. Its last column is an
    // expression, because a request is due when both its lease and its pause are over.
    await db.query(`
      CREATE INDEX processed_requests_recoverable
      ON processed_requests (operation, account_id, (GREATEST(locked_until, recover_at))) WHERE completed_at IS NULL`);
    // The index above replaces this index, so a claim still writes to the same number of indexes.
    await db.query('DROP INDEX processed_requests_unfinished');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE INDEX processed_requests_unfinished ON processed_requests (locked_until) WHERE completed_at IS NULL`);
    await db.query('DROP INDEX processed_requests_recoverable');
    await db.query('ALTER TABLE processed_requests DROP COLUMN recover_at');
  }
}
