import type { DataSource } from 'typeorm';
import { ConfigError } from '../config.js';
import { EXPECTED_POOLER, isForeignSession } from '../postgres/database-errors.js';
import type { SqlClient } from '../postgres/transaction.js';

const PROBE = { name: 'pooler_probe', text: 'SELECT 1', values: [] };

/** A busy pooler may lend the right session by chance, but hardly this often. */
const ROUNDS = 5;

/**
 * Checks that two clients can prepare statements of the same name, and that each keeps its own. A pooler in transaction mode lends the
 * session of one client to the other, so without support for prepared statements the statement exists already, or is missing.
 *
 * @param dataSource with at least two connections
 * @throws {ConfigError} if the pooler mixes up the prepared statements of its clients
 */
export async function checkPooler(dataSource: DataSource): Promise<void> {
  const runners = [dataSource.createQueryRunner(), dataSource.createQueryRunner()];
  try {
    const clients = (await Promise.all(runners.map((runner) => runner.connect()))) as SqlClient[];
    for (let round = 0; round < ROUNDS; round++) for (const client of clients) await client.query(PROBE);
  } catch (error) {
    throw isForeignSession(error) ? new ConfigError(`DATABASE_URL: ${EXPECTED_POOLER}`, { cause: error }) : error;
  } finally {
    for (const runner of runners) await runner.release();
  }
}
