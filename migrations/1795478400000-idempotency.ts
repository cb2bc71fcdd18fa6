import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The table of src/idempotency: copy this file with the module. It touches nothing else. */
export class Idempotency1795478400000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE processed_requests (
        -- Whose key it is. First in every primary key, so that the schema can be sharded by account.
        account_id       text        NOT NULL,
        -- What the client sent, 1 to 255 visible ASCII characters.
        idempotency_key  text        NOT NULL,
        -- The durable name of this request, the same at every retry. Ids and the gateway's key are derived from it.
        request_id       uuid        NOT NULL,
        -- Method and route: what the request asked for, and who may recover it.
        operation        text        NOT NULL,
        -- SHA-256 of operation, route parameters and canonical body: is this the same request?
        fingerprint      bytea       NOT NULL,
        -- Who holds the key, or completed it. A holder that was taken over finds another token here.
        lock_token       uuid        NOT NULL,
        -- Until when, by the clock of the database.
        locked_until     timestamptz,
        response_status  smallint,
        response_headers jsonb,
        -- The very bytes sent. Not jsonb, which reorders members and refuses \\u0000.
        response_body    text,
        -- The retention is counted from here, by the clock of the database. A request that is finished late, with less
        -- than half of it left, starts it anew.
        created_at       timestamptz NOT NULL,
        completed_at     timestamptz,

        -- The constraint that everything rests on: of two transactions with one key, one waits for the other.
        CONSTRAINT processed_requests_pkey PRIMARY KEY (account_id, idempotency_key),
        CONSTRAINT processed_requests_key_length CHECK (length(idempotency_key) BETWEEN 1 AND 255),
        CONSTRAINT processed_requests_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32),
        -- In progress or completed, and nothing in between: a reply is recorded whole or not at all.
        CONSTRAINT processed_requests_state CHECK (
          (completed_at IS NULL AND locked_until IS NOT NULL
            AND response_status IS NULL AND response_headers IS NULL AND response_body IS NULL)
          OR (completed_at IS NOT NULL AND locked_until IS NULL
            AND response_status IS NOT NULL AND response_headers IS NOT NULL AND response_body IS NOT NULL))
      )`);
    // For recovery, and for the age of the oldest unfinished request. Holds what is in progress now: a few rows.
    await db.query(`
      CREATE INDEX processed_requests_unfinished ON processed_requests (locked_until) WHERE completed_at IS NULL`);
    // For the sweep, which reads from the oldest end. Unfinished rows are not in it, so they cannot be swept.
    await db.query(`
      CREATE INDEX processed_requests_completed ON processed_requests (created_at) WHERE completed_at IS NOT NULL`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE processed_requests');
  }
}
