import { resolve } from 'node:path';
import { Client } from 'pg';
import { type Config, ConfigError } from '../config.js';
import { EmbeddedPostgres } from './embedded/embedded-postgres.js';

/** Longer than a server under load takes to accept a connection. */
const CONNECT_TIMEOUT_MS = 5_000;

/** A database to run on. */
export interface OpenDatabase {
  url: string;
  /** One line for people, without credentials. */
  description: string;
  close(): Promise<void>;
}

/** The server named by `DATABASE_URL`, or else a real PostgreSQL of our own in `.data/`. */
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

/** A start without a database would only fail later, and less clearly. */
async function check(url: string, host: string): Promise<void> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw new ConfigError(`DATABASE_URL: expected a PostgreSQL that can be used at ${host}, but ${String(error)}`);
  } finally {
    await client.end();
  }
}
