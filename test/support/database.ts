import { randomBytes } from 'node:crypto';
import { Client, type QueryResultRow } from 'pg';

/** A database of a test's own, with the schema in place. */
export interface TestDatabase {
  url: string;
  /** Runs a statement on a connection of its own kind: not the service's. */
  sql<Row extends QueryResultRow = QueryResultRow>(text: string, values?: unknown[]): Promise<Row[]>;
  drop(): Promise<void>;
}

/** Copies the migrated template; `empty` for a database without a schema, which may have another encoding. */
export async function createDatabase({ empty = false, encoding = 'UTF8' } = {}): Promise<TestDatabase> {
  const template = new URL(process.env['TEST_POSTGRES_URL'] ?? '');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const admin = new URL(template);
  admin.pathname = '/postgres';
  const source = `${empty ? 'template0' : template.pathname.slice(1)} ENCODING '${encoding}' LC_COLLATE 'C' LC_CTYPE 'C'`;
  await once(admin, `CREATE DATABASE ${name} TEMPLATE ${source}`);
  const url = new URL(template);
  url.pathname = `/${name}`;
  const client = await connect(url);
  let last: Promise<unknown> = Promise.resolve();
  return {
    url: url.href,
    sql: async (text, values) => {
      // One after the other: pg 9 refuses a statement while another one runs.
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
 * Limits of a connection that a busy machine does not reach, in milliseconds. Those of the service are for processes that are
 * frozen, and a test that waits for locks beside other tests would run into them.
 */
export const PATIENT_LIMITS = {
  lock_timeout: 60_000,
  statement_timeout: 60_000,
  idle_in_transaction_session_timeout: 60_000,
  // Longer than the others, as in the service, so that PostgreSQL reports its own error first.
  query_timeout: 90_000,
};

/** The URL for connections with these limits, in milliseconds, instead of those that the service sets. */
export function withLimits(url: string, limits: Partial<typeof PATIENT_LIMITS>): string {
  const limited = new URL(url);
  for (const [name, ms] of Object.entries(limits)) limited.searchParams.set(name, String(ms));
  return limited.href;
}

/** A client that a test owns, for transactions that stay open and for sessions that are frozen. */
export async function connect(url: URL | string): Promise<Client> {
  const client = new Client({ connectionString: String(url) });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

/** How many sessions wait for a lock. Of this database only, because the test files that run beside this one share the server. */
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
