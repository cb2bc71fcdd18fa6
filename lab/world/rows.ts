import type { Pool } from 'pg';

export type Row = Record<string, unknown>;

/** The rows of an implementation and of the bank at one moment. A table that the implementation does not have is missing. */
export interface Rows {
  processed_requests?: Row[];
  charges?: Row[];
  'bank.captures': Row[];
  outbox?: Row[];
}

/** Charges and captures, counted in the database and at the bank. */
export interface Effects {
  captures: number;
  /** Charges that have succeeded. */
  charges: number;
  /** Charges that are pending, and keys without a reply. */
  unfinished: number;
  /** How often a recorded reply was recorded again. */
  overwritten: number;
}

/** The tables that a reader sees, in the order of the story. */
const TABLES = { processed_requests: 'idempotency_key', charges: 'id', outbox: 'id' } as const;
type Table = keyof typeof TABLES;

const EXISTING = `
  SELECT table_name AS name, bool_or(column_name = 'locked_until') AS has_lease
  FROM information_schema.columns WHERE table_schema = $1 AND table_name = ANY ($2) GROUP BY table_name`;

/**
 * A trigger that notes each change of a recorded reply. It belongs to the lab, so the verdict does not have to trust the implementation. A key that
 * has expired loses its reply before it gets another one, so that is not such a change.
 */
const WATCH = `
  CREATE SCHEMA IF NOT EXISTS lab_watch;
  CREATE TABLE IF NOT EXISTS lab_watch.overwritten (idempotency_key text NOT NULL);
  CREATE OR REPLACE FUNCTION lab_watch.note() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO lab_watch.overwritten VALUES (OLD.idempotency_key);
    RETURN NULL;
  END $$`;
const watch = (schema: string) => `
  CREATE OR REPLACE TRIGGER lab_watch_note AFTER UPDATE ON ${schema}.processed_requests FOR EACH ROW
    WHEN (OLD.response_body IS NOT NULL AND NEW.response_body IS NOT NULL) EXECUTE FUNCTION lab_watch.note()`;

/** Reads and empties the tables of one implementation, and those of the bank. */
export class RowReader {
  private tables: { name: Table; hasLease: boolean }[] = [];

  constructor(
    private readonly pool: Pool,
    private readonly schema: string,
  ) {}

  /** Finds the tables of the implementation, and watches them. Call it once they exist. */
  async open(): Promise<this> {
    const { rows } = await this.pool.query<{ name: Table; has_lease: boolean }>(EXISTING, [
      this.schema,
      Object.keys(TABLES),
    ]);
    this.tables = rows.map(({ name, has_lease }) => ({ name, hasLease: has_lease }));
    await this.pool.query(WATCH);
    if (this.has('processed_requests')) await this.pool.query(watch(this.schema));
    return this;
  }

  /** All rows, in one statement, so that they are from the same moment. `lease_seconds` is the rest of a lease, by the database's clock. */
  async read(): Promise<Rows> {
    const selects = this.tables.map(({ name, hasLease }) => {
      const lease = hasLease
        ? `, round(extract(epoch FROM locked_until - clock_timestamp())::numeric, 1)::float8 AS lease_seconds`
        : '';
      const rows = `SELECT *${lease} FROM ${this.schema}.${name} ORDER BY ${TABLES[name]}`;
      return `(SELECT coalesce(json_agg(r), '[]') FROM (${rows}) r) AS "${name}"`;
    });
    const captures = `(SELECT coalesce(json_agg(r), '[]') FROM (SELECT * FROM bank.captures ORDER BY captured_at) r) AS "bank.captures"`;
    const { rows } = await this.pool.query<Rows & Row>(`SELECT ${[...selects, captures].join(', ')}`);
    return rows[0] ?? { 'bank.captures': [] };
  }

  async effects(): Promise<Effects> {
    const keys = this.has('processed_requests')
      ? `(SELECT count(*) FROM ${this.schema}.processed_requests WHERE response_body IS NULL)`
      : '0';
    const { rows } = await this.pool.query<Effects & Row>(`
      SELECT (SELECT count(*)::int FROM bank.captures) AS captures,
             (SELECT count(*)::int FROM ${this.schema}.charges WHERE status = 'succeeded') AS charges,
             ((SELECT count(*) FROM ${this.schema}.charges WHERE status = 'pending') + ${keys})::int AS unfinished,
             (SELECT count(*)::int FROM lab_watch.overwritten) AS overwritten`);
    return rows[0] ?? { captures: 0, charges: 0, unfinished: 0, overwritten: 0 };
  }

  async empty(): Promise<void> {
    const tables = this.tables.map(({ name }) => `${this.schema}.${name}`);
    await this.pool.query(`TRUNCATE ${[...tables, 'bank.captures', 'lab_watch.overwritten'].join(', ')}`);
  }

  /** Deletes a key, as a job of the operator does that deletes old keys. */
  async deleteKey(key: string): Promise<void> {
    if (!this.has('processed_requests')) return;
    await this.pool.query(`DELETE FROM ${this.schema}.processed_requests WHERE idempotency_key = $1`, [key]);
  }

  /**
   * Ends the leases of all requests that are in progress, by the clock of the database.
   *
   * @returns whether there was one
   */
  async endLeases(): Promise<boolean> {
    if (!this.tables.some(({ name, hasLease }) => name === 'processed_requests' && hasLease)) return false;
    const { rowCount } = await this.pool.query(
      `UPDATE ${this.schema}.processed_requests SET locked_until = clock_timestamp() WHERE response_body IS NULL`,
    );
    return rowCount !== 0;
  }

  /** Whether a key exists that was created less than this time ago, by the clock of the database. */
  async isYoung(key: string, seconds: number): Promise<boolean> {
    const { rowCount } = await this.pool.query(
      `SELECT FROM ${this.schema}.processed_requests
       WHERE idempotency_key = $1 AND created_at > clock_timestamp() - make_interval(secs => $2)`,
      [key, seconds],
    );
    return rowCount === 1;
  }

  private has(table: Table): boolean {
    return this.tables.some(({ name }) => name === table);
  }
}
