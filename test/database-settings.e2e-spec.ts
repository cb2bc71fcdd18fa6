import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { dataSourceOptions, migrationOptions } from '../src/database/data-source.js';
import { migrate } from '../src/database/migrate.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from './support/database.js';
import { startService, type TestService } from './support/service.js';
import { until } from './support/waiting.js';

/** The advisory lock of migrations. */
const MIGRATION_LOCK = 7_318_004_512;

let database: TestDatabase;
let name: string;
beforeEach(async () => {
  database = await createDatabase();
  name = new URL(database.url).pathname.slice(1);
});
afterEach(() => database?.drop());

const withQuery = (query: Record<string, string>) => {
  const url = new URL(database.url);
  for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
  return url.href;
};

/** The settings of a connection that is made with these options. */
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
    'reads dates in the ISO format and is read committed, whatever %s has as its default',
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

  it('keeps both its own options and those of the URL, which override', async () => {
    const own = await settingsOf(dataSourceOptions(database.url), 'tcp_user_timeout', 'work_mem');
    const both = withQuery({ options: '-c work_mem=7MB' });
    expect(await settingsOf(dataSourceOptions(both), 'tcp_user_timeout', 'work_mem')).toEqual([own[0], '7MB']);
    expect(own[0]).not.toBe('0');
    const other = withQuery({ options: '-c tcp_user_timeout=1234' });
    expect(await settingsOf(dataSourceOptions(other), 'tcp_user_timeout')).toEqual(['1234']);
  });
});

describe('a service on a database with another DateStyle', () => {
  let service: TestService;
  afterEach(() => service?.stop());

  it('charges, replays, and reports the time of a charge', async () => {
    await database.sql(`ALTER DATABASE ${name} SET datestyle = 'SQL, DMY'`);
    service = await startService(database.url);
    const first = await service.charge('key');
    expect(first.status).toBe(200);
    expect(first.body).toMatchObject({ status: 'succeeded' });
    expect((await service.charge('key')).text).toBe(first.text);
  });
});

describe('a migration', () => {
  it('waits for another replica without a limit, whatever the database and the URL say', async () => {
    for (const setting of ['statement_timeout', 'lock_timeout', 'idle_session_timeout']) {
      await database.sql(`ALTER DATABASE ${name} SET ${setting} = '1ms'`);
    }
    const holder = await connect(withQuery({ options: '-c idle_session_timeout=0 -c statement_timeout=0' }));
    await holder.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const migrated = migrate(withQuery({ statement_timeout: '1', lock_timeout: '1', query_timeout: '60000' }));
    // Also a failure ends the wait, which would otherwise look like a hang.
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
  // Roles belong to the whole server, which other test files share.
  const role = `shop_${process.pid}`;
  let url: string;
  beforeEach(async () => {
    await database.sql(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD 'shop'`);
    const own = new URL(database.url);
    Object.assign(own, { username: role, password: 'shop' });
    url = own.href;
  });
  afterEach(async () => {
    await database.sql(`DROP OWNED BY ${role} CASCADE; DROP ROLE ${role}`);
  });

  const tables = async () =>
    (await database.sql<{ name: string }>("SELECT schemaname || '.' || tablename AS name FROM pg_tables ORDER BY 1"))
      .map((row) => row.name)
      .filter((table) => !/^(pg_catalog|information_schema)\./.test(table));

  it.each([
    ['a schema of the role itself', () => [`CREATE SCHEMA AUTHORIZATION ${role}`], () => role],
    ['a search_path', () => ['CREATE SCHEMA app', `ALTER ROLE ${role} SET search_path = app, public`], () => 'app'],
  ])('is refused, and makes no table, if %s comes to stand in front of the tables', async (_, statements, first) => {
    const before = await tables();
    for (const statement of statements()) await database.sql(statement);
    await expect(migrate(url)).rejects.toThrow(
      `DATABASE_URL: expected the tables of the service in the first schema of search_path, "${first()}", but processed_requests is in "public"`,
    );
    expect(await tables()).toEqual(before);
    const asTold = new URL(url);
    asTold.searchParams.set('options', '-c search_path=public');
    expect(await migrate(asTold.href)).toEqual([]);
  });

  it('that fails in one migration has made no table in any other', async () => {
    const empty = await createDatabase({ empty: true });
    try {
      // In the way of a later migration.
      await empty.sql('CREATE SCHEMA bank');
      await expect(migrate(empty.url)).rejects.toThrow('schema "bank" already exists');
      expect(await empty.sql("SELECT to_regclass('processed_requests') AS made")).toEqual([{ made: null }]);
    } finally {
      await empty.drop();
    }
  });
});
