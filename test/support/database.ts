import { randomBytes } from 'node:crypto';
import { Client, type QueryResultRow } from 'pg';

/** A database for one test file. */
export interface TestDatabase {
  url: string;
  /** Runs a statement on a connection of the test, which the service does not use. */
  sql<Row extends QueryResultRow = QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  drop(): Promise<void>;
}

/**
 * Creates a database as a copy of the migrated template. With `empty` the database has no schema, and may have another
 * `encoding` or the sort order of `icuLocale`.
 */
export async function createDatabase({ empty = false, encoding = 'UTF8', icuLocale = '' } = {}): Promise<TestDatabase> {
  const template = new URL(process.env['TEST_POSTGRES_URL'] ?? '');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const admin = new URL(template);
  admin.pathname = '/postgres';
  const locale = icuLocale ? `LOCALE_PROVIDER icu ICU_LOCALE '${icuLocale}'` : '';
  const source = `${empty ? 'template0' : template.pathname.slice(1)} ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C' ${locale}`;
  await once(admin, `CREATE DATABASE ${name} TEMPLATE ${source}`);
  const url = new URL(template);
  url.pathname = `/${name}`;
  const client = await connect(url);
  let last: Promise<unknown> = Promise.resolve();
  return {
    url: url.href,
    sql: async (text, values) => {
      // One statement after another, because pg 9 refuses a statement while another one runs.
      const answer = last.then(() => client.query(text, values));
      last = answer.catch(() => undefined);
      return (await answer).rows as never;
    },
    drop: async () => {
      await client.end();
      await once(admin, `DROP DATABASE ${name} WITH (FORCE)`);
    },
  };
}

/**
 * Limits of a connection in milliseconds, so long that a busy machine does not reach them. The service's own limits are shorter,
 * because they end frozen processes. A test that waits for locks while other tests run could reach the service's limits.
 */
export const PATIENT_LIMITS = {
  lock_timeout: 60_000,
  statement_timeout: 60_000,
  idle_in_transaction_session_timeout: 60_000,
  // Longer than the limits of the server, as in the service, so that PostgreSQL reports its own error first.
  query_timeout: 90_000,
};

/** The URL with these limits in milliseconds, which replace those that the service sets. */
export function withLimits(url: string, limits: Partial<typeof PATIENT_LIMITS>): string {
  const limited = new URL(url);
  for (const [name, ms] of Object.entries(limits)) limited.searchParams.set(name, String(ms));
  return limited.href;
}

/** A connection that a test holds open, for example to keep a transaction or a lock. */
export async function connect(url: URL | string): Promise<Client> {
  const client = new Client({ connectionString: String(url) });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** Number of sessions of this database that wait for a lock. Other databases of the server belong to other test files. */
export const lockWaiters = async ({ sql }: TestDatabase): Promise<number> =>
  (await sql("SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")).length;

async function once(url: URL, statement: string): Promise<void> {
  const client = await connect(url);
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
