import { DataSource } from 'typeorm';
import { ConfigError } from '../config.js';
import { migrationOptions } from './data-source.js';
import { checkTables } from './table.check.js';

/** An arbitrary number. Other programs on the same database must not lock it. */
const ADVISORY_LOCK = 7_318_004_512;

/**
 * Runs the missing migrations.
 *
 * An advisory lock lets only one replica migrate at a time, because replicas that start together would otherwise run the same migration, and all
 * but one would fail. All migrations share one transaction, so a failed start leaves the schema unchanged for the running replicas.
 *
 * @param url the URL of the server, or of a pooler in session mode, because the lock belongs to the session
 * @returns the names of the migrations that have run
 * @throws {ConfigError} if the tables are not in the schema where migrations would create them, or if the service cannot use the tables
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
    // This ends the session, which releases the lock.
    await dataSource.destroy();
  }
}

/**
 * Checks that all replicas use the same processed_requests.
 *
 * TypeORM looks for its list of migrations only in the first schema of search_path, but our statements find tables in every schema of
 * search_path. If a new schema becomes the first one, as "$user" does as soon as it is created, migrations would create empty tables
 * there, and every key would count as new.
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
