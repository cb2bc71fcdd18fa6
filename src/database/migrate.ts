import { DataSource } from 'typeorm';
import { migrationOptions } from './data-source.js';

/** Any number that nothing else in the database locks. */
const ADVISORY_LOCK = 7_318_004_512;

/**
 * Brings the schema up to date. Under an advisory lock: replicas that start together would otherwise run the same
 * migration at once, and all but one would fail. The others wait, and find nothing left to do.
 *
 * @param url a connection to the server itself or to a pooler in session mode: the lock belongs to the session
 * @returns the names of the migrations that were run
 */
export async function migrate(url: string): Promise<string[]> {
  const dataSource = await new DataSource(migrationOptions(url)).initialize();
  try {
    const lock = dataSource.createQueryRunner();
    await lock.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK]);
    const done = await dataSource.runMigrations({ transaction: 'each' });
    return done.map(({ name }) => name);
  } finally {
    // Ends the session, and with it the lock.
    await dataSource.destroy();
  }
}
