import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Creates the table of `src/idempotency`. Copy this file together with the folders `src/idempotency`,
 * `src/postgres` and `src/timing`.
 */
export class Idempotency1795478400000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE processed_requests (
        -- The scope of the key. It is the first column of every primary key, so that the schema can be sharded by
        -- account.
        account_id       text        NOT NULL,
        -- The key that the client sent: 1 to 255 visible ASCII characters.
        idempotency_key  text        NOT NULL,
        -- The durable id of this request, the same at every retry. Ids of effects and the gateway's key are derived
        -- from it.
        request_id       uuid        NOT NULL,
        -- Method and route. Recovery uses them to find the function that can finish the request.
        operation        text        NOT NULL,
        -- SHA-256 of operation, path, query, named headers and canonical body. Two requests with one key are duplicates
        -- only if their fingerprints are equal.
        fingerprint      bytea       NOT NULL,
        -- Random id of the attempt that holds the key or has completed the request. An attempt that takes the key over
        -- writes its own token, so the previous attempt can no longer complete the request (fencing).
        lock_token       uuid        NOT NULL,
        -- End of the lease, by the clock of the database. After this time another attempt may take the key over.
        locked_until     timestamptz,
        response_status  smallint,
        response_headers jsonb,
        -- The bytes of the reply. The type is not jsonb, because jsonb reorders members and refuses \\u0000.
        response_body    text,
        -- Start of the retention, by the clock of the database. If a request completes after more than half of the
        -- retention, the retention starts again at its completion. Otherwise the key could expire as it completes, and
        -- the next retry of the client would be a new request.
        created_at       timestamptz NOT NULL,
        completed_at     timestamptz,

        -- Every guarantee depends on this constraint: of two transactions that insert one key, only one succeeds. A
        -- claim first asks for an advisory lock on its key, so that it rarely waits here for the other transaction.
        CONSTRAINT processed_requests_pkey PRIMARY KEY (account_id, idempotency_key),
        CONSTRAINT processed_requests_key_length CHECK (length(idempotency_key) BETWEEN 1 AND 255),
        CONSTRAINT processed_requests_fingerprint_is_sha256 CHECK (octet_length(fingerprint) = 32),
        -- A request is either in progress or completed. A reply is recorded completely or not at all.
        CONSTRAINT processed_requests_state CHECK (
          (completed_at IS NULL AND locked_until IS NOT NULL
            AND response_status IS NULL AND response_headers IS NULL AND response_body IS NULL)
          OR (completed_at IS NOT NULL AND locked_until IS NULL
            AND response_status IS NOT NULL AND response_headers IS NOT NULL AND response_body IS NOT NULL))
      )`);
    // An index of the requests that are in progress. A later migration, IdempotencyRecovery1795478408000, replaces it.
    await db.query(`
      CREATE INDEX processed_requests_unfinished ON processed_requests (locked_until) WHERE completed_at IS NULL`);
    // The sweep reads this index from its oldest end. Unfinished rows are not in the index, so they cannot be swept.
    await db.query(`
      CREATE INDEX processed_requests_completed ON processed_requests (created_at) WHERE completed_at IS NOT NULL`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE processed_requests');
  }
}
