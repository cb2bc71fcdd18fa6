// Goal: prove that the pages without an API key cannot take the database connections of customers.
// Method: request the pages many times at once, count connections, lock tables, and break the line to the database.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Client, Pool } from 'pg';
import { DataSource } from 'typeorm';
import { connect, createDatabase, type TestDatabase } from '../support/database.js';
import { type Line, startLine } from '../../harness/line.js';
import { startService, type TestService } from '../support/service.js';
import { until } from '../support/waiting.js';

let database: TestDatabase;
let service: TestService;
let line: Line;
let holder: Client | undefined;

beforeAll(async () => (database = await createDatabase()));
beforeEach(async () => {
  const url = new URL(database.url);
  line = await startLine(Number(url.port));
  url.port = String(line.port);
  service = await startService(url.href, { DATABASE_POOL_SIZE: '2' });
});
afterEach(async () => {
  await holder?.end();
  holder = undefined;
  await service?.stop();
  await line?.close();
});
afterAll(async () => database?.drop());

const get = async (path: string) => service.http.get(path);
const statusOf = async (path: string) => (await get(path)).status;
const asked = (count: number, path: string) => Promise.all(Array.from({ length: count }, () => statusOf(path)));

/** Counts the connections that are taken from the pool: in total, now, and the most at one time. */
function watchPool() {
  const { master } = service.nest.get(DataSource).driver as unknown as { master: Pool };
  const taken = { total: 0, now: 0, most: 0 };
  master.on('acquire', () => (taken.total++, (taken.most = Math.max(taken.most, ++taken.now))));
  master.on('release', () => taken.now--);
  return taken;
}

describe('the pages that need no API key', () => {
  it('uses one connection at a time for 100 requests of public pages, and fewer queries than requests', async () => {
    const taken = watchPool();
    const statuses = await Promise.all([asked(50, '/metrics'), asked(50, '/health/ready')]);
    expect(new Set(statuses.flat())).toEqual(new Set([200]));
    expect(taken.most).toBe(1);
    expect(taken.total).toBeLessThan(statuses.flat().length);
  });

  it('leaves a connection for charges while the queries of public pages are blocked', async () => {
    holder = await connect(database.url);
    await holder.query('BEGIN; LOCK TABLE migrations, failed_messages IN ACCESS EXCLUSIVE MODE');
    const pages = Promise.all([asked(20, '/metrics'), asked(20, '/health/ready')]);
    await until(async () => (await waiting()) > 0);
    expect((await service.charge('order_1')).status).toBe(200);
    expect(await waiting()).toBe(1);

    // The page of metrics leaves out the values that it could not read.
    const [metrics, readiness] = await pages;
    expect([new Set(metrics), new Set(readiness)]).toEqual([new Set([200]), new Set([503])]);
    await holder.query('ROLLBACK');
    await until(async () => (await statusOf('/health/ready')) === 200);
  });

  it('renders one page of metrics for several concurrent requests', async () => {
    const texts = await Promise.all(Array.from({ length: 50 }, async () => (await get('/metrics')).text));
    expect(new Set(texts).size).toBeLessThan(texts.length);
  });

  it('renders new metrics a little later', async () => {
    const { text } = await get('/metrics');
    await until(async () => (await get('/metrics')).text !== text);
  });

  it('serves no OpenAPI document in YAML, because it would be rendered for each request', async () => {
    expect(await statusOf('/docs-yaml')).toBe(404);
  });
});

describe('readiness', () => {
  it.each(['cut', 'stall'] as const)(
    'answers 503 to readiness while the line to the database is broken, and 200 once it is mended: %s',
    async (fault) => {
      await until(async () => (await statusOf('/health/ready')) === 200);
      line[fault]();
      await until(async () => (await statusOf('/health/ready')) === 503);
      expect(await statusOf('/health/live')).toBe(200);
      line.mend();
      await until(async () => (await statusOf('/health/ready')) === 200);
    },
  );
});

/** How many statements of the service wait for a lock. */
async function waiting(): Promise<number> {
  const [row] = await database.sql<{ count: number }>(
    `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'payments'
       AND wait_event_type = 'Lock'`,
  );
  return row?.count ?? 0;
}
