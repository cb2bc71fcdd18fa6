import type { MigrationInterface, QueryRunner } from 'typeorm';

export class StripeWebhooks1795478415000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // A dispute names only its PaymentIntent, so the charge is found by the intent.
    await db.query('CREATE INDEX stripe_payments_intent ON stripe_payments (payment_intent)');
    await db.query(`
      CREATE TABLE unmatched_events (
        -- The account that the event names. Empty if the event names only a PaymentIntent, as a dispute does.
        account_id     text        NOT NULL,
        event_id       text        NOT NULL,
        -- The charge that the event names. NULL if the event names only a PaymentIntent.
        charge_id      text,
        payment_intent text        NOT NULL,
        -- The members of the event that its work needs, and not the whole event, which contains data of the card holder.
        event          jsonb       NOT NULL,
        received_at    timestamptz NOT NULL,

        -- An event that arrives twice is kept once.
        CONSTRAINT unmatched_events_pkey PRIMARY KEY (account_id, event_id),
        CONSTRAINT unmatched_events_named CHECK ((account_id = '') = (charge_id IS NULL))
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE unmatched_events');
    await db.query('DROP INDEX stripe_payments_intent');
  }
}
