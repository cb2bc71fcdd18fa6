// Goal: prove that the service works behind a pooler in transaction mode, which passes no settings on and gives each transaction to any connection.
// Method: let the role set the limits, and look at the sessions of the server.
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { dataSourceOptions, migrationOptions } from '../../src/database/data-source.js';
import { migrate } from '../../src/database/migrate.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { killAll, spawnService } from '../support/process.js';
import { until } from '../support/waiting.js';

// The name contains the process id, because a role belongs to the whole server, and other test files use the same server.
const role = `pooled_${process.pid}`;
let database: TestDatabase;
let url: string;
beforeEach(async () => {
  database = await createDatabase({ empty: true });
  await database.sql(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'pooled'`);
  url = Object.assign(new URL(database.url), { username: role, password: 'pooled' }).href;
});
afterEach(async () => {
  await killAll();
  await database.sql(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
  await database.drop();
});

const ofRole = (settings: Record<string, string>) =>
  database.sql(
    Object.entries(settings)
      .map(([name, value]) => `ALTER ROLE ${role} SET ${name} = '${value}'`)
      .join('; '),
  );
const LIMITS = { lock_timeout: '2s', statement_timeout: '10s', idle_in_transaction_session_timeout: '5s' };

describe('DATABASE_SESSION_SETTINGS=role', () => {
  it('sends no setting that a pooler refuses when it connects', async () => {
    for (const options of [dataSourceOptions(url, 2, 'role'), migrationOptions(url, 'role')]) {
      const dataSource = await new DataSource(options).initialize();
      const sent = await dataSource.query<{ name: string }[]>(
        "SELECT name FROM pg_settings WHERE source = 'client' ORDER BY name",
      );
      await dataSource.destroy();
      expect(sent).toEqual([{ name: 'application_name' }, { name: 'client_encoding' }]);
    }
  });

  it('starts with limits that ALTER ROLE has set, and charges', async () => {
    await ofRole(LIMITS);
    const service = await spawnService(url, { DATABASE_SESSION_SETTINGS: 'role' });
    const charge = await fetch(`${service.url}/charges`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': 'pooled' },
      body: '{"amount": 1999, "currency": "eur"}',
    });
    expect(charge.status).toBe(200);
  });

  it('gets from role.sql of the pooler the same limits that the service would send itself', async () => {
    const limitsOf = async (settings: 'startup' | 'role') => {
      const dataSource = await new DataSource(dataSourceOptions(url, 2, settings)).initialize();
      const limits = await dataSource.query<object[]>(
        "SELECT name, setting FROM pg_settings WHERE name ~ '^(lock|statement|idle_in_transaction_session)_timeout$' ORDER BY name",
      );
      await dataSource.destroy();
      return limits;
    };
    const client = await connect(url);
    await client.query(readFileSync('deploy/pgbouncer/role.sql', 'utf8'));
    await client.end();
    expect(await limitsOf('role')).toEqual(await limitsOf('startup'));
  });

  it('refuses to start if the role has no limits, and names the limits', async () => {
    await expect(spawnService(url, { DATABASE_SESSION_SETTINGS: 'role' })).rejects.toThrow(
      'lock_timeout, statement_timeout, idle_in_transaction_session_timeout: expected a limit on every connection',
    );
  });

  it.each([
    ['DateStyle', 'SQL, DMY', 'expected DateStyle ISO, but it is SQL, DMY'],
    [
      'default_transaction_isolation',
      'serializable',
      'expected default_transaction_isolation read committed, but it is serializable',
    ],
  ])('refuses to start if the role sets another %s', async (name, value, message) => {
    await ofRole({ [name]: value });
    await expect(migrate(url, 'role')).rejects.toThrow(`DATABASE_SESSION_SETTINGS: ${message}`);
  });

  it('waits for the migration of another replica for longer than the lock_timeout of the role', async () => {
    await ofRole({ lock_timeout: '1ms' });
    const holder = await connect(database.url);
    await holder.query('BEGIN; CREATE SCHEMA bank');
    const migrated = [migrate(url, 'role'), migrate(url, 'role')];
    // One waits for the schema and one for the migration lock.
    await until(async () => (await lockWaiters(database)) === 2);
    await holder.query('ROLLBACK');
    await holder.end();
    expect((await Promise.all(migrated)).map((names) => names.length > 0).sort()).toEqual([false, true]);
  });
});

describe('the migration lock', () => {
  it('belongs to the transaction of the migrations, so a pooler cannot separate the two', async () => {
    const holder = await connect(database.url);
    await holder.query('BEGIN; CREATE SCHEMA bank');
    const migrated = migrate(url);
    await until(async () => (await lockWaiters(database)) === 1);
    const holders = await database.sql(
      `SELECT wait_event_type FROM pg_locks JOIN pg_stat_activity USING (pid)
       WHERE locktype = 'advisory' AND granted AND datname = current_database()`,
    );
    await holder.query('ROLLBACK');
    await holder.end();
    expect((await migrated).length).toBeGreaterThan(0);
    expect(holders).toEqual([{ wait_event_type: 'Lock' }]);
  });
});
