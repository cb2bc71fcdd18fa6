// JavaScript that imports the built service, because Jest loads this file before it can compile TypeScript.
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedPostgres } from '../../dist/src/database/embedded/embedded-postgres.js';
import { migrate } from '../../dist/src/database/migrate.js';

/** Starts one throwaway PostgreSQL for all tests. Its database is the template that each test file copies. */
export default async function setUp() {
  const directory = await mkdtemp(join(tmpdir(), 'payments-test-'));
  const postgres = await EmbeddedPostgres.start({ directory, durable: false, throwaway: true });
  process.env.TEST_POSTGRES_URL = postgres.url;
  await migrate(postgres.url);
  globalThis.stopTestPostgres = () => postgres.stop();
}
