import type { DataSource } from 'typeorm';

/**
 * The migrations of this module, and an SQL condition on what each of them leaves in the database. `keys` is the row of `processed_requests`
 * in `pg_class`.
 *
 * The conditions do not read TypeORM's table of migrations, because an operator may apply migrations with another tool.
 */
export const MIGRATIONS: Readonly<Record<string, string>> = {
  Idempotency1795478400000: `keys.oid IS NOT NULL`,
  // A table that is partitioned has no storage parameters of its own.
  IdempotencyUpkeep1795478400500: `keys.relkind = 'p' OR array_to_string(keys.reloptions, ',') LIKE '%autovacuum_vacuum_scale_factor=%'`,
  IdempotencyRecovery1795478408000: `EXISTS (SELECT FROM pg_attribute WHERE attrelid = keys.oid AND attname = 'recover_at' AND NOT attisdropped)`,
};

/**
 * Checks that every migration of the module has run.
 *
 * @throws Error with the names of those that have not
 */
export async function checkMigrations(dataSource: DataSource): Promise<void> {
  const conditions = Object.entries(MIGRATIONS).map(
    ([name, condition]) => `coalesce(${condition}, false) AS "${name}"`,
  );
  const [hasRun] = await dataSource.query<Record<string, boolean>[]>(
    `SELECT ${conditions.join(', ')} FROM (SELECT) AS one LEFT JOIN pg_class AS keys ON keys.oid = to_regclass('processed_requests')`,
  );
  const missing = Object.keys(MIGRATIONS).filter((name) => !hasRun?.[name]);
  if (missing.length > 0) {
    throw new Error(
      `processed_requests: expected the migration ${missing.join(' and ')} to have run; add idempotencyMigrations to the migrations of the data source, and run them before the start or with migrationsRun: true`,
    );
  }
}
