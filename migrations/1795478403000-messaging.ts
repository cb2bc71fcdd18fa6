import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The tables of src/messaging: copy this file with the module. It touches nothing else. */
export class Messaging1795478403000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE outbox (
        account_id   text        NOT NULL,
        -- Type and subject, so that appending a message again, as a retry does, appends nothing.
        id           text        NOT NULL,
        type         text        NOT NULL,
        data         jsonb       NOT NULL,
        created_at   timestamptz NOT NULL,
        -- When a relay may publish it: later, when it could not be published.
        available_at timestamptz NOT NULL,
        -- How often it could not.
        attempts     integer     NOT NULL DEFAULT 0,
        published_at timestamptz,

        CONSTRAINT outbox_pkey PRIMARY KEY (account_id, id)
      )`);
    // For the relays: what is to be published, the longest waiting first. Never by id or time of creation, since a row
    // that was created earlier may be committed later, and would be passed over.
    await db.query('CREATE INDEX outbox_unpublished ON outbox (available_at) WHERE published_at IS NULL');
    // For the sweep.
    await db.query('CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL');
    await db.query(`
      CREATE TABLE processed_messages (
        account_id   text        NOT NULL,
        consumer     text        NOT NULL,
        message_id   text        NOT NULL,
        processed_at timestamptz NOT NULL,

        -- The inbox: of two deliveries of one message to one consumer, one waits for the other, and then does nothing.
        CONSTRAINT processed_messages_pkey PRIMARY KEY (account_id, consumer, message_id)
      )`);
    // For the sweep, which reads from the oldest end. Not a BRIN: its summaries are not narrowed when rows are deleted, so
    // once the sweep has been through a table, whose space is then used again, every range looks as old as its first row.
    await db.query('CREATE INDEX processed_messages_age ON processed_messages (processed_at)');
    await db.query(`
      CREATE TABLE failed_messages (
        account_id   text        NOT NULL,
        consumer     text        NOT NULL,
        message_id   text        NOT NULL,
        -- The whole message, so that it can be looked at and sent again when the bus has forgotten it.
        type         text        NOT NULL,
        data         jsonb       NOT NULL,
        created_at   timestamptz NOT NULL,
        -- Counted here, since not every broker counts, and none counts deliveries that a crash has cut off.
        attempts     integer     NOT NULL,
        last_error   text        NOT NULL,
        failed_at    timestamptz NOT NULL,
        -- A dead letter from then on: not delivered again by itself.
        dead_at      timestamptz,

        CONSTRAINT failed_messages_pkey PRIMARY KEY (account_id, consumer, message_id)
      )`);
    await db.query(
      'CREATE INDEX failed_messages_dead ON failed_messages (account_id, dead_at) WHERE dead_at IS NOT NULL',
    );
    // Every message leaves dead rows when it is published and swept, as keys do: see the upkeep of those.
    for (const table of ['outbox', 'processed_messages']) {
      await db.query(`
        ALTER TABLE ${table} SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02)`);
    }
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE outbox, processed_messages, failed_messages');
  }
}
