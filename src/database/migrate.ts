import { DataSource } from 'typeorm';
import { ConfigError } from '../config.js';
import { migrationOptions } from './data-source.js';
import { checkTables } from './table.check.js';

/** Any number that nothing else in the database locks. */
const ADVISORY_LOCK = 7_318_004_512;

/**
 * Brings the schema up to date. Under an advisory lock: replicas that start together would otherwise run the same
 * migration at once, and all but one would fail. The others wait, and find nothing left to do.
 *
 * All migrations share one transaction, so a start that fails has changed nothing that the running replicas see.
 *
 * @param url a connection to the server itself or to a pooler in session mode: the lock belongs to the session
 * @returns the names of the migrations that were run
 * @throws {ConfigError} if the tables are in another schema than the one where migrations would make them, or cannot be used
 */
export async function migrate(url: string): Promise<string[]> {
  const dataSource = await new DataSource(migrationOptions(url)).initialize();
  try {
    const lock = dataSource.createQueryRunner();
    await lock.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCK]);
    await checkSchema(dataSource);
    const done = await dataSource.runMigrations({ transaction: 'all' });
    await checkTables(dataSource);
    return done.map(({ name }) => name);
  } finally {
    // Ends the session, and with it the lock.
    await dataSource.destroy();
  }
}

/**
 * The invariant: there is one processed_requests for all replicas. TypeORM looks for its list of migrations in the first schema of
 * search_path only, but our statements find tables in all of search_path. So a schema that comes to stand in front, as "$user" does as
 * soon as it is created, would get empty tables of its own, and every key would be new again.
 */
async function checkSchema(dataSource: DataSource): Promise<void> {
  const [path] = await dataSource.query<{ first: string | null }[]>('SELECT current_schema() AS first');
  if (!path?.first) throw new ConfigError('DATABASE_URL: expected a search_path with a schema that exists');
  const [found] = await dataSource.query<{ schema: string; first: string }[]>(`
    SELECT nspname AS schema, current_schema() AS first
    FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relname = 'processed_requests' AND nspname = ANY (current_schemas(false)) AND nspname <> current_schema()`);
  if (!found) return;
  throw new ConfigError(
    `DATABASE_URL: expected the tables of the service in the first schema of search_path, "${found.first}", but processed_requests is in ` +
      `"${found.schema}"; name that schema first, as with ?options=-c%20search_path=${encodeURIComponent(found.schema)}`,
  );
}
