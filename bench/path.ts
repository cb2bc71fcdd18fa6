import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { EmbeddedPostgres } from '../src/database/embedded/embedded-postgres.js';
import { migrate } from '../src/database/migrate.js';
import { instrument, type Visit } from './path/instrument.js';
import { documentOf, type Path } from './path/document.js';

/**
 * Writes docs/path.md: the functions that one `POST /charges` calls, in order, with each committer. The tool copies the build, adds a
 * line that notes the call to each named function, and starts the copy.
 */

const BUILD = fileURLToPath(new URL('..', import.meta.url));
const INSTRUMENTED = join(BUILD, 'path');
const DOCUMENT = fileURLToPath(new URL('../../docs/path.md', import.meta.url));

/** Nothing runs in the background, and no reply comes from memory. */
const QUIET = {
  LOG_LEVEL: 'silent',
  PORT: '0',
  RELAY_INTERVAL_MS: '3600000',
  RECOVERY_INTERVAL_MS: '3600000',
  IDEMPOTENCY_SWEEP_CRON: '0 0 1 1 *',
  IDEMPOTENCY_CACHE_MIB: '0',
};

const visits: Visit[] = [];
let isNoting = false;
(globalThis as unknown as { visit: (file: string, name: string) => void }).visit = (file, name) => {
  if (isNoting) visits.push({ file, name });
};

function instrumentBuild(): void {
  rmSync(INSTRUMENTED, { recursive: true, force: true });
  for (const folder of ['src', 'migrations']) {
    for (const name of readdirSync(join(BUILD, folder), { recursive: true, encoding: 'utf8' })) {
      if (!name.endsWith('.js')) continue;
      const [from, to] = [BUILD, INSTRUMENTED].map((root) => join(root, folder, name)) as [string, string];
      mkdirSync(dirname(to), { recursive: true });
      if (folder === 'migrations') cpSync(from, to);
      else writeFileSync(to, instrument(readFileSync(from, 'utf8'), `src/${name.replace(/\.js$/, '.ts')}`, ts));
    }
  }
}

interface Service {
  nest: { listen(port: number, host: string): Promise<unknown>; getUrl(): Promise<string>; close(): Promise<void> };
}

async function startService(databaseUrl: string, groupSize: number): Promise<Service> {
  const load = <T>(path: string) => import(join(INSTRUMENTED, 'src', path)) as Promise<T>;
  const { loadConfig } = await load<{ loadConfig: (env: object) => object }>('config.js');
  const { AppModule } = await load<{ AppModule: { register(config: object, url: string): object } }>('app.module.js');
  const { createApp } = await load<{ createApp: (config: object, root: object) => Promise<Service> }>('app.setup.js');
  const config = loadConfig({ ...QUIET, IDEMPOTENCY_GROUP_SIZE: String(groupSize) });
  const app = await createApp(config, AppModule.register(config, databaseUrl));
  await app.nest.listen(0, '127.0.0.1');
  return app;
}

async function charge(url: string, key: string): Promise<void> {
  const response = await fetch(`${url}/charges`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': key },
    body: JSON.stringify({ amount: 1999, currency: 'eur' }),
  });
  await response.text();
  if (response.status !== 200) throw new Error(`expected 200, but the service answered ${response.status}`);
}

async function pathsWith(databaseUrl: string, committer: string, groupSize: number): Promise<Path[]> {
  const { nest } = await startService(databaseUrl, groupSize);
  try {
    const url = await nest.getUrl();
    // The first request is not traced, because it also fills the caches of the process.
    await charge(url, `warm-up-${committer}`);
    const trace = async (request: string): Promise<Path> => {
      visits.length = 0;
      isNoting = true;
      await charge(url, `traced-${committer}`);
      isNoting = false;
      return { request, committer, visits: [...visits] };
    };
    return [await trace('a first request'), await trace('a replay')];
  } finally {
    await nest.close();
  }
}

const directory = mkdtempSync(join(tmpdir(), 'payments-path-'));
const postgres = await EmbeddedPostgres.start({ directory, durable: false });
try {
  await migrate(postgres.url);
  instrumentBuild();
  const paths = [
    ...(await pathsWith(postgres.url, 'OneByOne', 1)),
    ...(await pathsWith(postgres.url, 'GroupCommit', 64)),
  ];
  writeFileSync(DOCUMENT, documentOf(paths));
  process.stdout.write(`${relative(process.cwd(), DOCUMENT)} is written.\n`);
} finally {
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
}
