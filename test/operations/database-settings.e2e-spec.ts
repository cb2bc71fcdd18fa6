// Goal: prove that the settings of a database, a role or a URL cannot make the service unsafe, because the service overrides these settings
// or refuses to start.
// Method: change the settings of a database or a role, then connect, migrate or start.
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { dataSourceOptions, migrationOptions } from '../../src/database/data-source.js';
import { migrate } from '../../src/database/migrate.js';
import { TABLES } from '../../src/database/table.check.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';
import { until } from '../support/waiting.js';
import { expectProblem } from '../support/wire.js';

/** Key of the advisory lock that migrations hold. */
const MIGRATION_LOCK = 7_318_004_512;

let database: TestDatabase;
let name: string;
beforeEach(async () => {
  database = await createDatabase();
  name = new URL(database.url).pathname.slice(1);
});
afterEach(async () => {
  // Also stops a service that should have refused to start, so that the test run can end.
  await Promise.all(started.splice(0).map((service) => service.stop()));
  await database?.drop();
});

const started: TestService[] = [];
async function start(url: string): Promise<TestService> {
  const service = await startService(url);
  started.push(service);
  return service;
}
/**
 * Starts a service that must refuse to start. If the service starts, this function returns only its URL, because Jest would take minutes to print
 * a whole service.
 */
const startRefused = async (url: string) => (await start(url)).url;

const withQuery = (query: Record<string, string>) => {
  const url = new URL(database.url);
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  return url.href;
};

/** Returns the values of the named settings on a new connection with these options. */
async function settingsOf(options: ReturnType<typeof migrationOptions>, ...names: string[]): Promise<string[]> {
  const dataSource = await new DataSource(options).initialize();
  try {
    const rows = await dataSource.query<{ value: string }[]>(
      'SELECT current_setting(name) AS value FROM unnest($1::text[]) WITH ORDINALITY AS names (name, position) ORDER BY position',
      [names],
    );
    return rows.map(({ value }) => value);
  } finally {
    await dataSource.destroy();
  }
}

describe('a connection of the service', () => {
  it.each(['the database', 'the URL'])(
    'reads dates in ISO format and uses read committed although %s has other defaults',
    async (where) => {
      let { url } = database;
      if (where === 'the URL') {
        url = withQuery({ options: '-c datestyle=SQL,DMY -c default_transaction_isolation=serializable' });
      } else {
        await database.sql(`ALTER DATABASE ${name} SET datestyle = 'SQL, DMY'`);
        await database.sql(`ALTER DATABASE ${name} SET default_transaction_isolation = 'serializable'`);
      }
      for (const options of [dataSourceOptions(url), migrationOptions(url)]) {
        const [dateStyle, isolation] = await settingsOf(options, 'DateStyle', 'default_transaction_isolation');
        expect([dateStyle?.split(',')[0], isolation]).toEqual(['ISO', 'read committed']);
      }
    },
  );

  it('makes the server send keepalive probes, so that the server closes connections that the network has dropped', async () => {
    for (const options of [dataSourceOptions(database.url), migrationOptions(database.url)]) {
      const probes = await settingsOf(
        options,
        'tcp_keepalives_idle',
        'tcp_keepalives_interval',
        'tcp_keepalives_count',
      );
      expect(probes).toEqual(['30', '10', '3']);
    }
  });

  it('combines its own connection options with those of the URL, which take precedence', async () => {
    const own = await settingsOf(dataSourceOptions(database.url), 'tcp_user_timeout', 'work_mem');
    const both = withQuery({ options: '-c work_mem=7MB' });
    expect(await settingsOf(dataSourceOptions(both), 'tcp_user_timeout', 'work_mem')).toEqual([own[0], '7MB']);
    expect(own[0]).not.toBe('0');
    const other = withQuery({ options: '-c tcp_user_timeout=1234' });
    expect(await settingsOf(dataSourceOptions(other), 'tcp_user_timeout')).toEqual(['1234']);
  });
});

describe('a search_path without a schema', () => {
  it('refuses to start if no schema of the search_path exists, and names the search_path', async () => {
    await expect(migrate(withQuery({ options: '-c search_path=nowhere' }))).rejects.toThrow(
      'DATABASE_URL: expected a search_path with a schema that exists',
    );
  });
});

describe('an open connection of a service', () => {
  it('replaces a connection whose prepared statements a migration has invalidated, and serves the request on another connection', async () => {
    const service = await start(database.url);
    expect((await service.charge('before')).status).toBe(200);
    // A migration of a newer replica can do this while this replica keeps running.
    await database.sql('ALTER TABLE charges ALTER COLUMN id TYPE text COLLATE "POSIX"');
    expect((await service.charge('after')).status).toBe(200);
  });
});

describe('a service on a database with another DateStyle', () => {
  it('charges and replays on a database with another DateStyle', async () => {
    await database.sql(`ALTER DATABASE ${name} SET datestyle = 'SQL, DMY'`);
    const service = await start(database.url);
    const first = await service.charge('key');
    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({ status: 'succeeded' });
    expect((await service.charge('key')).text).toBe(first.text);
  });
});

describe('a migration', () => {
  it('waits for the migration of another replica without a time limit, although the database and the URL set limits', async () => {
    for (const setting of ['statement_timeout', 'lock_timeout', 'idle_session_timeout']) {
      await database.sql(`ALTER DATABASE ${name} SET ${setting} = '1ms'`);
    }
    const holder = await connect(withQuery({ options: '-c idle_session_timeout=0 -c statement_timeout=0' }));
    await holder.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const migrated = migrate(withQuery({ statement_timeout: '1', lock_timeout: '1', query_timeout: '60000' }));
    // If the migration fails, the wait must end too, because the failure would otherwise look like a hang.
    let isOver = false;
    migrated.then(
      () => (isOver = true),
      () => (isOver = true),
    );
    await until(async () => isOver || (await lockWaiters(database)) === 1);
    await holder.end();
    expect(await migrated).toEqual([]);
  });
});

describe('a start', () => {
  // The name contains the process id, because a role belongs to the whole server, and other test files use the same server.
  const role = `shop_${process.pid}`;
  let url: string;
  beforeEach(async () => {
    await database.sql(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'shop'`);
    const own = new URL(database.url);
    Object.assign(own, { username: role, password: 'shop' });
    url = own.href;
  });
  afterEach(async () => {
    await Promise.all(started.splice(0).map((service) => service.stop()));
    await database.sql(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
  });

  const tables = async () =>
    (await database.sql<{ name: string }>("SELECT schemaname || '.' || tablename AS name FROM pg_tables ORDER BY 1"))
      .map((row) => row.name)
      .filter((table) => !/^(pg_catalog|information_schema)\./.test(table));

  it.each([
    ['a schema with the name of the role', () => [`CREATE SCHEMA AUTHORIZATION ${role}`], () => role],
    [
      'a schema of the search_path',
      () => ['CREATE SCHEMA app', `ALTER ROLE ${role} SET search_path = app, public`],
      () => 'app',
    ],
  ])(
    'refuses to start, and creates no table, if %s now precedes the schema of the tables',
    async (_, statements, first) => {
      const before = await tables();
      for (const statement of statements()) await database.sql(statement);
      await expect(migrate(url)).rejects.toThrow(
        `DATABASE_URL: expected the tables of the service in the first schema of search_path, "${first()}", but processed_requests is in "public"`,
      );
      expect(await tables()).toEqual(before);
      const corrected = new URL(url);
      corrected.searchParams.set('options', '-c search_path=public');
      expect(await migrate(corrected.href)).toEqual([]);
    },
  );

  it('creates no table when one of the migrations fails', async () => {
    const empty = await createDatabase({ empty: true });
    try {
      // A later migration fails because this schema exists.
      await empty.sql('CREATE SCHEMA bank');
      await expect(migrate(empty.url)).rejects.toThrow('schema "bank" already exists');
      expect(await empty.sql("SELECT to_regclass('processed_requests') AS made")).toEqual([{ made: null }]);
    } finally {
      await empty.drop();
    }
  });

  describe('a start as a role with few rights', () => {
    beforeEach(async () => {
      await database.sql(`
        ALTER ROLE ${role} NOSUPERUSER;
        GRANT USAGE ON SCHEMA bank TO ${role};
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, bank TO ${role}`);
    });

    it('starts and charges with only the rights that the service uses', async () => {
      expect(await migrate(url)).toEqual([]);
      const service = await start(url);
      expect((await service.charge('key')).status).toBe(200);
    });

    it.each([
      ['INSERT', 'charges'],
      ['UPDATE', 'orders'],
      ['DELETE', 'outbox'],
    ])('refuses to start without the right to %s on %s, and names the right', async (right, table) => {
      await database.sql(`REVOKE ${right} ON ${table} FROM ${role}`);
      await expect(migrate(url)).rejects.toThrow(`DATABASE_URL: expected the right to ${right} on ${table}`);
    });

    it.each([
      ['DELETE ON processed_requests', 'processed_requests: expected the right to DELETE'],
      ['INSERT ON bank.captures', 'DATABASE_URL: expected the right to INSERT on bank.captures'],
      ['USAGE ON SCHEMA bank', 'permission denied for schema bank'],
    ])('refuses to start without %s, and names the right', async (right, message) => {
      await database.sql(`REVOKE ${right} FROM ${role}`);
      await expect(startRefused(url)).rejects.toThrow(message);
    });
  });

  it('refuses to start if a table is unlogged, because a crash would empty it', async () => {
    await database.sql('ALTER TABLE outbox SET UNLOGGED; ALTER TABLE processed_messages SET UNLOGGED');
    await expect(migrate(url)).rejects.toThrow(
      /expected outbox to be logged.*expected processed_messages to be logged/s,
    );
    await database.sql('ALTER TABLE processed_requests SET UNLOGGED');
    await expect(startRefused(url)).rejects.toThrow('processed_requests: expected a logged table');
  });

  it('refuses to start if the tables are in two schemas', async () => {
    await database.sql('CREATE SCHEMA other; ALTER TABLE orders SET SCHEMA other');
    const both = new URL(url);
    both.searchParams.set('options', '-c search_path=public,other');
    await expect(migrate(both.href)).rejects.toThrow(
      /expected orders in the schema of processed_requests, public, but it is in other/,
    );
  });
});

describe('readiness', () => {
  it('answers 503 to /health/ready on a read-only database, because every write would fail', async () => {
    await database.sql(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
    const service = await start(database.url);
    const unready = await service.http.get('/health/ready');
    expect(expectProblem(unready, 503, 'database_unavailable')['detail']).toBe('The database is read-only.');
  });
});

it('checks at the start exactly the tables that the migrations create', async () => {
  const made = await database.sql<{ tablename: string }>(
    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('migrations', 'typeorm_metadata')",
  );
  expect(made.map(({ tablename }) => tablename).sort()).toEqual(Object.keys(TABLES).sort());
});
