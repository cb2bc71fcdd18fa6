import { resolve } from 'node:path';
import { Client } from 'pg';
import { type Config, ConfigError } from '../config.js';
import { EmbeddedPostgres } from './embedded/embedded-postgres.js';

/** Longer than a server under load takes to accept a connection, or to answer a query that does not read a table. */
const TIMEOUT_MS = 5_000;

/** A database that accepts connections. */
export interface OpenDatabase {
  url: string;
  /** One line for people, without credentials. */
  description: string;
  close(): Promise<void>;
}

/**
 * Opens the database of `DATABASE_URL`. If `DATABASE_URL` is unset, it starts an embedded PostgreSQL in `.data/`.
 *
 * @throws {ConfigError} if the database of `DATABASE_URL` cannot be used
 */
export async function openDatabase(
  { DATABASE_URL: url }: Pick<Config, 'DATABASE_URL'>,
  log?: (message: string) => void,
): Promise<OpenDatabase> {
  if (url) {
    const { host, pathname } = new URL(url);
    await check(url, host);
    return { url, description: `PostgreSQL at ${host}${pathname}`, close: () => Promise.resolve() };
  }
  const directory = resolve('.data');
  const embedded = await EmbeddedPostgres.start({ directory, durable: true, log });
  const owner = embedded.shared ? ', shared with another process' : '';
  return {
    url: embedded.url,
    description: `embedded PostgreSQL in ${directory}, port ${embedded.port}${owner}`,
    close: () => embedded.stop(),
  };
}

/** Checks the database before the start, because the service would otherwise fail later and with a less clear error. Only UTF8 stores every text. */
async function check(url: string, host: string): Promise<void> {
  const timeouts = { connectionTimeoutMillis: TIMEOUT_MS, query_timeout: TIMEOUT_MS };
  let client: Client | undefined;
  let encoding: string | undefined;
  try {
    // This also reads the files that the URL names, such as `sslrootcert`, so it can throw.
    client = new Client({ connectionString: url, ...timeouts });
    client.on('error', () => undefined);
    await client.connect();
    const { rows } = await client.query<{ server_encoding: string }>('SHOW server_encoding');
    encoding = rows[0]?.server_encoding;
  } catch (error) {
    throw new ConfigError(`DATABASE_URL: expected a usable PostgreSQL at ${host}, but ${String(error)}`);
  } finally {
    await client?.end();
  }
  if (encoding !== 'UTF8') {
    throw new ConfigError(`DATABASE_URL: expected a database with the encoding UTF8, but its encoding is ${encoding}`);
  }
}
