import { Client } from 'pg';
import type { RunSql } from './effects.js';

/** Longer than a busy machine takes to answer. */
const TIMEOUT_MS = 60_000;

/** Runs each statement on a connection of its own, because the server may have been killed since the last statement. */
export function sqlAt(url: string): RunSql {
  return async (text, values) => {
    const timeouts = { connectionTimeoutMillis: TIMEOUT_MS, query_timeout: TIMEOUT_MS };
    const client = new Client({ connectionString: url, ...timeouts });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query(text, values)).rows as never;
    } finally {
      await client.end();
    }
  };
}
