import type { MigrationInterface, QueryRunner } from 'typeorm';

export class StripePayments1795478414000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    // Empty unless Stripe is the payment gateway.
    await db.query(`
      CREATE TABLE stripe_payments (
        account_id     text        NOT NULL,
        charge_id      text        NOT NULL,
        -- The PaymentIntent that takes the money. Every attempt at the charge confirms this PaymentIntent and no other one.
        payment_intent text,
        -- The reason for which Stripe refuses to create a PaymentIntent for this amount and currency.
        refusal        text,
        -- A row never changes, because an attempt may already have confirmed its PaymentIntent.
        opened_at      timestamptz NOT NULL,

        -- At most one opened payment for each charge, so that two attempts cannot confirm two intents.
        CONSTRAINT stripe_payments_pkey PRIMARY KEY (account_id, charge_id),
        CONSTRAINT stripe_payments_opened CHECK ((payment_intent IS NULL) <> (refusal IS NULL))
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE stripe_payments');
  }
}
