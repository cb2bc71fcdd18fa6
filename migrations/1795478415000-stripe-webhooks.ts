import type { MigrationInterface, QueryRunner } from 'typeorm';

export class StripeWebhooks1795478415000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // A dispute names only its PaymentIntent, so the charge is found by the intent. The index is unique, because one payment pays one charge.
    await db.query('CREATE UNIQUE INDEX stripe_payments_intent ON stripe_payments (payment_intent)');
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
    await db.query(`
      CREATE TABLE reported_refunds (
        account_id text    NOT NULL,
        charge_id  text    NOT NULL,
        -- The sum of all refunds of the charge in minor units, ours and others, as the gateway reports it. The greatest report counts, because
        -- reports arrive in any order.
        reported   integer NOT NULL,
        -- The part of the sum that is certainly not ours. The balance has counted it down, so it never decreases.
        elsewhere  integer NOT NULL,

        CONSTRAINT reported_refunds_pkey PRIMARY KEY (account_id, charge_id),
        CONSTRAINT reported_refunds_elsewhere CHECK (elsewhere BETWEEN 0 AND reported)
      )`);
    await db.query(`
      CREATE TABLE disputes (
        account_id    text        NOT NULL,
        -- The id that the gateway gave to the dispute. A charge may have several disputes.
        id            text        NOT NULL,
        charge_id     text        NOT NULL,
        -- 'closed' means that an inquiry ended without a dispute.
        status        text        NOT NULL,
        -- The time of the event that reported the status. Of two events of the same kind the younger one counts.
        status_at     timestamptz NOT NULL,
        -- Whether the balance has counted the disputed amount down, and up again. They never change back, so each is counted once.
        is_withdrawn  boolean     NOT NULL,
        is_reinstated boolean     NOT NULL,

        CONSTRAINT disputes_pkey PRIMARY KEY (account_id, id),
        CONSTRAINT disputes_status CHECK (status IN ('open', 'won', 'lost', 'closed'))
      )`);
    // The last dispute is read with each charge.
    await db.query('CREATE INDEX disputes_charge ON disputes (account_id, charge_id)');
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE disputes');
    await db.query('DROP TABLE reported_refunds');
    await db.query('DROP TABLE unmatched_events');
    await db.query('DROP INDEX stripe_payments_intent');
  }
}
