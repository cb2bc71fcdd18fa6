import { Client, Pool, type QueryResultRow } from 'pg';

/** Maximum number of connections. Only the comparison of tables uses more than one. */
const CONNECTIONS = 4;
/** Longer than a new connection takes on a busy machine. */
const CONNECT_TIMEOUT_MS = 10_000;
/** The number of the advisory lock of a move. Any number is possible. Moves run one at a time, because they rewrite the same triggers. */
const MOVE_LOCK = 4_117_203;

/** Settings that decide how PostgreSQL writes a row as text, so that two servers write equal rows equally. */
const TEXT_SETTINGS = '-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1';

/** Runs a statement and returns its rows. */
export interface Sql {
  query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
}

/** The database of a cell, as its operator sees it. */
export class CellDatabase implements Sql {
  private readonly pool: Pool;
  private lock?: Client;

  constructor(
    readonly name: string,
    private readonly url: string,
    /** The URL that the databases of other cells use. */
    readonly urlForCells: string,
  ) {
    this.pool = new Pool({
      connectionString: url,
      max: CONNECTIONS,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      options: TEXT_SETTINGS,
      application_name: 'cells:move',
    });
    this.pool.on('error', () => undefined);
  }

  async query<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]> {
    return (await this.pool.query<Row>(text, values)).rows;
  }

  /** Runs a query that returns one row. */
  async one<Row extends QueryResultRow>(text: string, values?: unknown[]): Promise<Row> {
    const [row] = await this.query<Row>(text, values);
    if (!row) throw new Error(`${this.name}: expected a row from ${text}`);
    return row;
  }

  /** Runs statements in one transaction. */
  async inTransaction<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    const client = await this.pool.connect();
    try {
      await client.query('BEGIN');
      const result = await work({ query: async (text, values) => (await client.query(text, values)).rows as never });
      await client.query('COMMIT');
      return result;
    } catch (error) {
      await client.query('ROLLBACK').catch(() => undefined);
      throw error;
    } finally {
      client.release();
    }
  }

  /**
   * Keeps other moves out of the cell until the end of the process. The session holds the lock, so the lock ends with a process that is killed.
   *
   * @throws Error if another move uses the cell
   */
  async reserve(): Promise<void> {
    this.lock = new Client({ connectionString: this.url, application_name: 'cells:move' });
    this.lock.on('error', () => undefined);
    await this.lock.connect();
    const { rows } = await this.lock.query<{ isFree: boolean }>('SELECT pg_try_advisory_lock($1) AS "isFree"', [
      MOVE_LOCK,
    ]);
    if (!rows[0]?.isFree) throw new Error(`${this.name}: another move is running`);
  }

  async end(): Promise<void> {
    await this.lock?.end();
    await this.pool.end();
  }
}

/** Quotes a text as an SQL literal, for statements that take no parameters. */
export const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
