// Goal: prove which errors mean that the database is unavailable, that a connection is lost, or that a transaction lost a race.
// Method: provoke each error on a real PostgreSQL and classify it.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Pool } from 'pg';
import { DataSource, type QueryRunner } from 'typeorm';
import { dataSourceOptions } from '../../src/database/data-source.js';
import {
  isConflict,
  isConnectionLost,
  isDatabaseUnavailable,
  isLockTimeout,
} from '../../src/postgres/database-errors.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startProxy } from '../../harness/proxy.js';
import { until } from '../support/waiting.js';

let database: TestDatabase;
/** Its pool has two connections. */
let dataSource: DataSource;

beforeAll(async () => {
  database = await createDatabase();
  dataSource = await open(database.url);
});
afterAll(async () => {
  await dataSource?.destroy();
  await database?.drop();
});

const open = (url: string) => new DataSource(dataSourceOptions(url)).initialize();

/** The error that `work` fails with, on a connection of its own. */
async function failureOf(work: (runner: QueryRunner) => Promise<unknown>): Promise<unknown> {
  const runner = dataSource.createQueryRunner();
  try {
    await work(runner);
  } catch (error) {
    return error;
  } finally {
    await runner.release();
  }
  throw new Error('Expected a failure');
}

const raise = (code: string) => (runner: QueryRunner) =>
  runner.query(`DO $$ BEGIN RAISE EXCEPTION 'for a test' USING ERRCODE = '${code}'; END $$`);

/** Only this statement has a short timeout, because every other statement may take long on a busy machine. */
async function takeTooLong(runner: QueryRunner): Promise<void> {
  await runner.startTransaction();
  await runner.query('SET LOCAL statement_timeout = 100');
  await runner.query('SELECT pg_sleep(60)').finally(() => runner.rollbackTransaction());
}

/** Shortens the timeout only when both connections are taken, because connecting may take long on a busy machine. */
async function findNoConnection(runner: QueryRunner): Promise<void> {
  const others = [dataSource.createQueryRunner(), dataSource.createQueryRunner()];
  await Promise.all(others.map((other) => other.connect()));
  const { options } = (dataSource.driver as unknown as { master: Pool }).master;
  const { connectionTimeoutMillis } = options;
  options.connectionTimeoutMillis = 100;
  await runner.connect().finally(() => {
    options.connectionTimeoutMillis = connectionTimeoutMillis;
    return Promise.all(others.map((other) => other.release()));
  });
}

const endOwnConnection = (runner: QueryRunner) => runner.query('SELECT pg_terminate_backend(pg_backend_pid())');

describe('isDatabaseUnavailable', () => {
  it.each([
    ['a connection that is ended within a statement', endOwnConnection],
    [
      'a connection that was lost before the next statement of a transaction',
      async (runner: QueryRunner) => {
        await runner.connect();
        await endOwnConnection(runner).catch(() => undefined);
        await until(() => runner.isReleased);
        await runner.manager.query('SELECT 1');
      },
    ],
    [
      'a query runner whose connection is gone',
      async (runner: QueryRunner) => {
        await runner.release();
        await runner.query('SELECT 1');
      },
    ],
    ['a statement that takes too long', takeTooLong],
    ['a pool without a free connection', findNoConnection],
    ['too many connections', raise('53300')],
    ['a shutdown', raise('57P01')],
    ['a race that was lost in every attempt', raise('40001')],
    ['a full disk', raise('53100')],
    ['a standby that is not promoted yet', raise('25006')],
  ])('recognises an unavailable database by %s', async (_, work) => {
    expect(isDatabaseUnavailable(await failureOf(work))).toBe(true);
  });

  it('recognises an unavailable database by a network that drops every packet', async () => {
    const proxy = await startProxy(database.url);
    const forgotten = await new DataSource(dataSourceOptions(`${proxy.url}?query_timeout=100`)).initialize();
    proxy.fallSilent('both ways');
    const error: unknown = await forgotten.query('SELECT 1').catch((failure: unknown) => failure);
    expect([isDatabaseUnavailable(error), isConnectionLost(error)]).toEqual([true, true]);
    await forgotten.destroy();
    await proxy.close();
  });

  it.each<[string, (url: URL) => unknown]>([
    ['that does not exist', (url) => (url.port = '1')],
    ['whose Unix socket does not exist', (url) => url.searchParams.set('host', '/nowhere')],
    ['that does not know the role', (url) => (url.username = 'unknown')],
    ['that does not know the database', (url) => (url.pathname = '/nowhere')],
    ['whose database accepts no connections', (url) => (url.pathname = '/template0')],
  ])('recognises an unavailable database by a server %s', async (_, change) => {
    const url = new URL(database.url);
    change(url);
    const error: unknown = await open(url.href).catch((failure: unknown) => failure);
    expect([isDatabaseUnavailable(error), isConnectionLost(error)]).toEqual([true, true]);
  });

  it.each([
    ['a violated constraint', raise('23505')],
    ['a mistake in a statement', (runner: QueryRunner) => runner.query('SELECT nothing')],
    ['a value that is out of range', (runner: QueryRunner) => runner.query('SELECT 1 / 0')],
  ])('does not take %s for an unavailable database', async (_, work) => {
    expect(isDatabaseUnavailable(await failureOf(work))).toBe(false);
  });

  it('does not take a value that is not a database error for an unavailable database', () => {
    for (const value of [undefined, null, 'ECONNREFUSED', new TypeError('x is undefined'), {}]) {
      expect(isDatabaseUnavailable(value)).toBe(false);
    }
  });
});

describe('isConflict', () => {
  it.each(['40001', '40P01'])('recognises a transaction that lost a race by SQLSTATE %s', async (code) => {
    expect(isConflict(await failureOf(raise(code)))).toBe(true);
  });

  it('classifies a lock timeout as a lock timeout, not as a lost race', async () => {
    const error = await failureOf(raise('55P03'));
    expect([isConflict(error), isLockTimeout(error)]).toEqual([false, true]);
  });
});
