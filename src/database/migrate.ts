import { DataSource, type EntityManager, MigrationExecutor } from 'typeorm';
import { type Config, ConfigError } from '../config.js';
import { isReadOnly } from '../postgres/database-errors.js';
import { migrationOptions, SERVER_LIMITS } from './data-source.js';
import { checkPooler } from './pooler.check.js';
import { checkSession } from './session.check.js';
import { checkTables } from './table.check.js';

/** An arbitrary number. Other programs on the same database must not lock it. */
const ADVISORY_LOCK = 7_318_004_512;

/** The limits that `ALTER ROLE … SET` may have set must not end a long migration, or the wait for the migrations of another replica. */
const WITHOUT_LIMITS = SERVER_LIMITS.map((name) => `SET LOCAL ${name} = 0`).join('; ');

/**
 * Runs the missing migrations.
 *
 * An advisory lock lets only one replica migrate at a time, because replicas that start together would otherwise run the same migration, and all
 * but one would fail. The lock belongs to the transaction of the migrations, because a pooler in transaction mode may give each transaction
 * of a session to another connection. All migrations share this transaction, so a failed start leaves the schema unchanged for the running
 * replicas.
 *
 * @returns the names of the migrations that have run
 * @throws {ConfigError} if the tables are not in the schema where migrations would create them, if the service cannot use the tables, or if
 *   migrations are missing and the server is read-only
 */
export async function migrate(url: string, settings?: Config['DATABASE_SESSION_SETTINGS']): Promise<string[]> {
  const dataSource = await new DataSource(migrationOptions(url, settings)).initialize();
  try {
    await checkPooler(dataSource);
    const runner = dataSource.createQueryRunner();
    await runner.startTransaction('READ COMMITTED');
    await runner.query(WITHOUT_LIMITS);
    await runner.query('SELECT pg_advisory_xact_lock($1)', [ADVISORY_LOCK]);
    await checkSession(runner.manager);
    await checkSchema(runner.manager);
    const done = await new MigrationExecutor(dataSource, runner).executePendingMigrations();
    await checkTables(runner.manager);
    await runner.commitTransaction();
    return done.map(({ name }) => name);
  } catch (error) {
    if (!isReadOnly(error)) throw error;
    throw new ConfigError(
      'DATABASE_URL: expected a primary, because migrations are missing, but the server is a standby or read-only',
    );
  } finally {
    // This ends the session, which rolls back a transaction that has failed.
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
async function checkSchema(manager: EntityManager): Promise<void> {
  const [path] = await manager.query<{ first: string | null }[]>('SELECT current_schema() AS first');
  if (!path?.first) throw new ConfigError('DATABASE_URL: expected a search_path with a schema that exists');
  const [found] = await manager.query<{ schema: string; first: string }[]>(`
    SELECT nspname AS schema, current_schema() AS first
    FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
    WHERE relname = 'processed_requests' AND nspname = ANY (current_schemas(false)) AND nspname <> current_schema()`);
  if (!found) return;
  throw new ConfigError(
    `DATABASE_URL: expected the tables of the service in the first schema of search_path, "${found.first}", but processed_requests is in ` +
      `"${found.schema}"; name that schema first, as with ?options=-c%20search_path=${encodeURIComponent(found.schema)}`,
  );
}
