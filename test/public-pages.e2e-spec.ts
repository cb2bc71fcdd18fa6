import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { createDatabase, type TestDatabase } from './support/database.js';
import { startService, type TestService } from './support/service.js';

/** More at once than the pool has connections. */
const REQUESTS = 100;

let database: TestDatabase;
let service: TestService;
/** The statements that the service has sent by its data source, in order. */
const statements: string[] = [];

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, { API_KEYS: 'acct_a:sk_a' });
  const dataSource = service.nest.get(DataSource);
  const query = dataSource.query.bind(dataSource);
  dataSource.query = (statement, ...rest) => {
    statements.push(statement);
    return query(statement, ...rest) as never;
  };
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

// A tenth, because a look is shared for a second only, and a busy machine may take several seconds for all requests.
const LOOKS = REQUESTS / 10;

describe('a page that needs no API key', () => {
  it.each([
    ['/metrics', /processed_requests/],
    ['/metrics', /outbox/],
    ['/health/ready', /FROM migrations/],
  ])('%s looks at the database for many requests at once, not for each of them: %s', async (path, statement) => {
    const looks = () => statements.filter((text) => statement.test(text)).length;
    const before = looks();
    const responses = await Promise.all(Array.from({ length: REQUESTS }, () => service.http.get(path)));
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(responses.map(({ text }) => text)).size).toBeLessThan(LOOKS);
    expect(looks() - before).toBeLessThan(LOOKS);
  });
});
