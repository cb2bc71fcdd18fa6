import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Lets a relay deliver a message in one transaction. Copy this file together with `src/messaging`. */
export class FreshMessages1795478418000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // A message without this time is fresh: nothing outside the outbox knows it, neither a bus nor an inbox. So one transaction can delete the
    // message and apply its effects. Replicas of an older version neither append nor see fresh messages.
    await db.query('ALTER TABLE outbox ALTER COLUMN available_at DROP NOT NULL');
    // Relays read fresh messages from this index as well, because a B-tree contains NULL. The second column gives them an order.
    await db.query('ALTER INDEX outbox_unpublished RENAME TO outbox_unpublished_without_order');
    await db.query('CREATE INDEX outbox_unpublished ON outbox (available_at, created_at) WHERE published_at IS NULL');
    await db.query('DROP INDEX outbox_unpublished_without_order');
  }

  async down(db: QueryRunner): Promise<void> {
    // An older version does not see fresh messages, so its replicas would never deliver them.
    await db.query('UPDATE outbox SET available_at = clock_timestamp() WHERE available_at IS NULL');
    await db.query('ALTER TABLE outbox ALTER COLUMN available_at SET NOT NULL');
    await db.query('ALTER INDEX outbox_unpublished RENAME TO outbox_unpublished_in_order');
    await db.query('CREATE INDEX outbox_unpublished ON outbox (available_at) WHERE published_at IS NULL');
    await db.query('DROP INDEX outbox_unpublished_in_order');
  }
}
