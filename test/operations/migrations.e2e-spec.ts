// Goal: prove that the migrations create the schema once, can be undone, match the entities, and constrain processed_requests.
// Method: migrate empty databases, compare their schemas object by object, and insert rows that the constraints must refuse.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { migrations } from '../../migrations/index.js';
import { dataSourceOptions } from '../../src/database/data-source.js';
import { migrate } from '../../src/database/migrate.js';
import { createDatabase, type TestDatabase } from '../support/database.js';

const NAMES = migrations.map(({ name }) => name);

/**
 * Describes every schema, table, column, constraint, index, sequence, trigger, function, type and extension of a database, in one line each,
 * so that two schemas can be compared.
 */
async function schemaOf(database: TestDatabase): Promise<string[]> {
  const objects = await database.sql<{ object: string }>(`
    WITH ours AS (
      SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    ), tables AS (
      SELECT c.oid, c.relkind, nspname || '.' || relname AS name FROM pg_class c JOIN ours ON ours.oid = relnamespace
    )
    SELECT 'schema ' || nspname AS object FROM ours
    UNION ALL SELECT concat('relation ', relkind, ' ', name) FROM tables
    UNION ALL SELECT name || ' column ' || concat_ws(' ', attnum, attname, format_type(atttypid, atttypmod),
        CASE WHEN attnotnull THEN 'not null' END, attidentity, attgenerated, pg_get_expr(adbin, adrelid))
      FROM pg_attribute JOIN tables ON tables.oid = attrelid AND relkind = 'r' LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
      WHERE attnum > 0 AND NOT attisdropped
    UNION ALL SELECT name || ' constraint ' || conname || ' ' || pg_get_constraintdef(c.oid)
      FROM pg_constraint c JOIN tables ON tables.oid = conrelid
    UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN tables ON tables.oid = indrelid
    UNION ALL SELECT name || ' trigger ' || tgname FROM pg_trigger JOIN tables ON tables.oid = tgrelid WHERE NOT tgisinternal
    UNION ALL SELECT 'function ' || proname FROM pg_proc JOIN ours ON ours.oid = pronamespace
    UNION ALL SELECT 'type ' || nspname || '.' || typname FROM pg_type t JOIN ours ON ours.oid = typnamespace
    UNION ALL SELECT 'extension ' || extname FROM pg_extension
    ORDER BY 1`);
  return objects.map(({ object }) => object);
}

const withDataSource = async <T>(url: string, use: (dataSource: DataSource) => Promise<T>): Promise<T> => {
  const dataSource = await new DataSource(dataSourceOptions(url)).initialize();
  return use(dataSource).finally(() => dataSource.destroy());
};

describe('the migrations', () => {
  let database: TestDatabase;
  let empty: string[];
  beforeAll(async () => {
    database = await createDatabase({ empty: true });
    empty = await schemaOf(database);
  });
  afterAll(() => database?.drop());

  it('runs each migration once when four replicas start together on an empty database', async () => {
    const done = await Promise.all([1, 2, 3, 4].map(() => migrate(database.url)));
    expect(done.flat()).toEqual(NAMES);
    expect(await database.sql('SELECT name FROM migrations ORDER BY id')).toEqual(NAMES.map((name) => ({ name })));
  });

  it('runs no migration at the next start', async () => {
    expect(await migrate(database.url)).toEqual([]);
  });

  it('undoes the migrations one by one until none of their objects is left, and then recreates the same schema', async () => {
    const before = await schemaOf(database);
    expect(before).not.toEqual(empty);

    await withDataSource(database.url, async (dataSource) => {
      for (const undone of [...NAMES].reverse()) {
        await dataSource.undoLastMigration({ transaction: 'each' });
        const left = await database.sql<{ name: string }>('SELECT name FROM migrations ORDER BY id');
        expect(left.map(({ name }) => name)).toEqual(NAMES.slice(0, NAMES.indexOf(undone)));
      }
    });
    const ofTypeOrm = /\b_?migrations(_id_seq)?\b|\bPK_\w+/;
    expect((await schemaOf(database)).filter((object) => !ofTypeOrm.test(object))).toEqual(empty);

    expect(await migrate(database.url)).toEqual(NAMES);
    expect(await schemaOf(database)).toEqual(before);
  });

  it('creates the schema that the entities describe, so TypeORM finds nothing to change', async () => {
    const changes = await withDataSource(database.url, (dataSource) => dataSource.driver.createSchemaBuilder().log());
    expect(changes.upQueries.map(({ query }) => query)).toEqual([]);
  });

  it('creates the constraints of the entities with the same definitions, although TypeORM compares only their names', async () => {
    const described = await createDatabase({ empty: true });
    try {
      await withDataSource(described.url, (dataSource) => dataSource.synchronize());
      const constraints = (await schemaOf(described)).filter((object) => object.includes(' constraint '));
      expect(constraints.length).toBeGreaterThan(0);
      expect(await schemaOf(database)).toEqual(expect.arrayContaining(constraints));
    } finally {
      await described.drop();
    }
  });

  it('gives every table a primary key that begins with account_id', async () => {
    const keys = await database.sql<{ table: string; first: string | null }>(`
      SELECT c.oid::regclass::text AS table, attname AS first
      FROM pg_class c LEFT JOIN pg_index ON indrelid = c.oid AND indisprimary
      LEFT JOIN pg_attribute ON attrelid = c.oid AND attnum = indkey[0]
      WHERE relnamespace::regnamespace::text IN ('public', 'bank') AND relkind IN ('r', 'p')
        AND relname NOT IN ('migrations', 'typeorm_metadata')`);
    const tables = keys.map(({ table }) => table);
    expect(tables).toEqual(expect.arrayContaining(['processed_requests', 'charges', 'bank.captures']));
    expect(keys).toEqual(tables.map((table) => ({ table, first: 'account_id' })));
  });
});

describe('the table processed_requests', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createDatabase({ empty: true });
    await migrate(database.url);
    await insert({ idempotency_key: 'held' });
    await insert({ idempotency_key: 'completed', ...COMPLETED });
  });
  afterAll(() => database?.drop());

  const IN_PROGRESS = {
    account_id: 'acct_a',
    idempotency_key: 'new',
    request_id: randomUUID(),
    operation: 'POST /charges',
    fingerprint: Buffer.alloc(32),
    lock_token: randomUUID(),
    locked_until: new Date(),
    created_at: new Date(),
  };
  const COMPLETED = {
    locked_until: null,
    completed_at: new Date(),
    response_status: 200,
    response_headers: {},
    response_body: '',
  };

  function insert(changes: Record<string, unknown>) {
    const row: Record<string, unknown> = { ...IN_PROGRESS, request_id: randomUUID(), ...changes };
    const names = Object.keys(row);
    const places = names.map((_, i) => `$${i + 1}`);
    return database.sql(
      `INSERT INTO processed_requests (${names.join()}) VALUES (${places.join()})`,
      Object.values(row),
    );
  }

  it.each([
    ['a used key', { idempotency_key: 'held' }, 'processed_requests_pkey'],
    ['the key of a completed request', { idempotency_key: 'completed' }, 'processed_requests_pkey'],
    ['an empty key', { idempotency_key: '' }, 'processed_requests_key_length'],
    ['a key of 256 characters', { idempotency_key: 'k'.repeat(256) }, 'processed_requests_key_length'],
    ['a fingerprint of 31 bytes', { fingerprint: Buffer.alloc(31) }, 'processed_requests_fingerprint_is_sha256'],
    ['a fingerprint of 33 bytes', { fingerprint: Buffer.alloc(33) }, 'processed_requests_fingerprint_is_sha256'],
    ['an unfinished request without a lease', { locked_until: null }, 'processed_requests_state'],
    [
      'a reply but no completion time',
      { ...COMPLETED, completed_at: null, locked_until: new Date() },
      'processed_requests_state',
    ],
    ['a completion time but no reply', { locked_until: null, completed_at: new Date() }, 'processed_requests_state'],
    ['a completed request with a lease', { ...COMPLETED, locked_until: new Date() }, 'processed_requests_state'],
    ['a reply without status', { ...COMPLETED, response_status: null }, 'processed_requests_state'],
    ['a reply without headers', { ...COMPLETED, response_headers: null }, 'processed_requests_state'],
    ['a reply without body', { ...COMPLETED, response_body: null }, 'processed_requests_state'],
  ])('refuses a row with %s', async (_, changes, constraint) => {
    await expect(insert(changes)).rejects.toMatchObject({ constraint });
  });

  it.each(Object.keys(IN_PROGRESS).filter((name) => name !== 'locked_until'))(
    'refuses a row without the column %s',
    async (column) => {
      await expect(insert({ [column]: null })).rejects.toMatchObject({ code: '23502', column });
    },
  );

  it('accepts the same key for another account', async () => {
    await insert({ account_id: 'acct_b', idempotency_key: 'held' });
    expect(await database.sql("SELECT FROM processed_requests WHERE idempotency_key = 'held'")).toHaveLength(2);
  });

  it('gives processed_requests only the constraints that these tests check', async () => {
    const constraints = await database.sql<{ conname: string }>(
      `SELECT conname FROM pg_constraint WHERE conrelid = 'processed_requests'::regclass AND contype <> 'n' ORDER BY 1`,
    );
    expect(constraints.map(({ conname }) => conname)).toEqual([
      'processed_requests_fingerprint_is_sha256',
      'processed_requests_key_length',
      'processed_requests_pkey',
      'processed_requests_state',
    ]);
  });
});
