import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Creates the tables of `src/messaging`. Copy this file together with the folders `src/messaging`, `src/postgres` and `src/timing`.
 */
export class Messaging1795478403000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE outbox (
        account_id   text        NOT NULL,
        -- Type and subject of the message. A retry appends the same id, so the primary key prevents a duplicate.
        id           text        NOT NULL,
        type         text        NOT NULL,
        data         jsonb       NOT NULL,
        created_at   timestamptz NOT NULL,
        -- Earliest time at which a relay may publish the message. A failed attempt postpones it.
        available_at timestamptz NOT NULL,
        -- Number of failed attempts to publish.
        attempts     integer     NOT NULL DEFAULT 0,
        published_at timestamptz,

        CONSTRAINT outbox_pkey PRIMARY KEY (account_id, id)
      )`);
    // The relays read unpublished messages from this index, the longest waiting first. They do not remember the last id
    // or time that they have read, because a row that was created earlier may be committed later and would be skipped.
    await db.query('CREATE INDEX outbox_unpublished ON outbox (available_at) WHERE published_at IS NULL');
    // The sweep reads this index from its oldest end.
    await db.query('CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL');
    await db.query(`
      CREATE TABLE processed_messages (
        account_id   text        NOT NULL,
        consumer     text        NOT NULL,
        message_id   text        NOT NULL,
        processed_at timestamptz NOT NULL,

        -- The inbox: if one message is delivered twice to one consumer, the second delivery waits for the first and
        -- then does nothing.
        CONSTRAINT processed_messages_pkey PRIMARY KEY (account_id, consumer, message_id)
      )`);
    // The sweep reads this index from its oldest end. A BRIN index would not work: its ranges do not become narrower
    // when rows are deleted. After a sweep, new rows reuse the space of deleted rows, so every range would still seem
    // as old as its first row.
    await db.query('CREATE INDEX processed_messages_age ON processed_messages (processed_at)');
    await db.query(`
      CREATE TABLE failed_messages (
        account_id   text        NOT NULL,
        consumer     text        NOT NULL,
        message_id   text        NOT NULL,
        -- The complete message, so that it can be read and redelivered after the broker has deleted it.
        type         text        NOT NULL,
        data         jsonb       NOT NULL,
        created_at   timestamptz NOT NULL,
        -- Deliveries that failed. They are counted here, because not every broker counts them, and because no broker
        -- counts a delivery that a crash interrupted.
        attempts     integer     NOT NULL,
        last_error   text        NOT NULL,
        failed_at    timestamptz NOT NULL,
        -- The time at which the message became a dead letter. A dead letter is delivered again only on request.
        dead_at      timestamptz,

        CONSTRAINT failed_messages_pkey PRIMARY KEY (account_id, consumer, message_id)
      )`);
    await db.query(
      'CREATE INDEX failed_messages_dead ON failed_messages (account_id, dead_at) WHERE dead_at IS NOT NULL',
    );
    // Every message leaves dead rows when it is published and when it is swept. The migration `idempotency-upkeep`
    // gives the reason for the numbers.
    for (const table of ['outbox', 'processed_messages']) {
      await db.query(`
        ALTER TABLE ${table} SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02)`);
    }
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE outbox, processed_messages, failed_messages');
  }
}
