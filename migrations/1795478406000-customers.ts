import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Customers1795478406000 implements MigrationInterface {
  async up(db: QueryRunner): Promise<void> {
    await db.query(`
      CREATE TABLE customers (
        account_id text    NOT NULL,
        id         text    NOT NULL,
        name       text,
        email      text,
        status     text,
        -- The optimistic lock. Every change and every deletion increments the version, and it never decreases. So a
        -- version that a client has read never matches other content, even if the customer was deleted and created
        -- again.
        version    integer NOT NULL,
        deleted_at timestamptz,

        CONSTRAINT customers_pkey PRIMARY KEY (account_id, id),
        CONSTRAINT customers_status CHECK (status IN ('active', 'inactive')),
        -- A deleted customer keeps its id and its version, and nothing else.
        CONSTRAINT customers_deleted CHECK (CASE WHEN deleted_at IS NULL THEN num_nulls(name, email, status) = 0
                                                 ELSE num_nonnulls(name, email, status) = 0 END)
      )`);
  }

  async down(db: QueryRunner): Promise<void> {
    await db.query('DROP TABLE customers');
  }
}
