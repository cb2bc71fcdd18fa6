import { strict as assert } from 'node:assert';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { runTool } from '../../harness/processes.js';
import { sqlAt } from '../../harness/sql.js';
import { type Case, runCases } from '../../harness/suite.js';
import { packModule } from '../../package/pack.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { Application, type Platform, PLATFORMS } from './application.js';
import { type Nest, NESTS } from './nests.js';
import { commandOf, fileOf } from './readme.js';
import { tarballCases } from './tarball.js';

const run = promisify(execFile);

/** The most lines of code that the wiring of the README may have. */
const MAX_WIRING_LINES = 12;

/** The options of the conformance kit for the application of the README. */
const OPERATION = [
  ...['--path', '/orders', '--success', '201', '--effects', '/orders', '--effects-list', ''],
  ...['--header', 'Authorization: Bearer secret_of_anna', '--other-header', 'Authorization: Bearer secret_of_ben'],
  ...['--body', '{"item": "book", "note": "{{unique}}"}', '--other-body', '{"item": "pen", "note": "{{unique}}"}'],
  ...['--invalid-body', '{"item": 1}'],
];

/**
 * The checks of the conformance kit that are left out: the operation of the application never refuses a request for good, and this suite starts one
 * process with the default lifetime of keys and without crashes.
 */
const SKIPPED = ['replicas', 'refusal', 'expiry', 'crash'];

async function conforms(url: string): Promise<string> {
  const args = ['dist/conformance/main.js', '--url', url, '--format', 'json', ...OPERATION];
  const { stdout } = await run(process.execPath, args).catch((error: unknown) => {
    throw new Error(
      `The conformance kit found failures: ${(error as { stdout: string }).stdout}${(error as { stderr: string }).stderr}`,
      { cause: error },
    );
  });
  const { findings } = JSON.parse(stdout) as { findings: { id: string; verdict: string }[] };
  const skipped = findings.filter(({ verdict }) => verdict !== 'passed').map(({ id }) => id);
  assert.deepEqual(skipped, SKIPPED);
  return `${findings.length - skipped.length} checks of the conformance kit passed`;
}

/** Sends the request of the README twice. */
async function repeats(url: string): Promise<string> {
  const command = commandOf('curl').replace('localhost:3000', new URL(url).host).replace('curl -i', 'curl -s -i');
  const send = async () => {
    const [head = '', body = ''] = (await run('bash', ['-c', command])).stdout.split('\r\n\r\n');
    return {
      isReplay: /^idempotent-replayed: true$/im.test(head.replaceAll('\r', '')),
      status: head.slice(0, 12),
      body,
    };
  };
  const [first, second] = [await send(), await send()];
  assert.equal(first.status, 'HTTP/1.1 201');
  assert.deepEqual(first, { ...second, isReplay: false });
  assert.equal(second.isReplay, true);
  return 'the curl of the README gets the same bytes twice';
}

const casesOf = (nest: Nest, application: Promise<Application>, postgresUrl: string): Case[] => [
  {
    name: `installs and compiles in an empty folder, as the README says, with ${nest.name}`,
    run: async () => {
      await application;
      return 'installed';
    },
  },
  ...PLATFORMS.map((platform) => ({
    name: `happens once and conforms on ${platform}, with ${nest.name}`,
    run: async (show: (step: string) => void) => {
      const database = await createDatabase(postgresUrl, `${platform}_${nest.type}`);
      show('the test of the README');
      return serve(await application, platform, database, show);
    },
  })),
];

const jestCase = (nest: Nest, application: Promise<Application>, postgresUrl: string): Case => ({
  name: `runs the test of the README in Jest, with ${nest.name}`,
  run: async () => (await application).testInJest(await createDatabase(postgresUrl, 'jest')),
});

async function serve(
  application: Application,
  platform: Platform,
  database: string,
  show: (step: string) => void,
): Promise<string> {
  const tested = await application.test(platform, database);
  show('the conformance kit');
  const program = application.start(platform, database);
  try {
    const url = await program.served();
    return [tested, await repeats(url), await conforms(url)].join(', ');
  } finally {
    await program.end();
  }
}

async function createDatabase(postgresUrl: string, name: string): Promise<string> {
  await sqlAt(postgresUrl)(`CREATE DATABASE ${name}`);
  const url = new URL(postgresUrl);
  url.pathname = `/${name}`;
  return url.href;
}

async function main(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'payments-package-'));
  const postgres = await EmbeddedPostgres.start({
    directory: join(folder, 'postgres'),
    durable: true,
    throwaway: true,
  });
  try {
    const tarball = await packModule(join(folder, 'packed'));
    // Both applications are installed at the same time, because npm mostly waits for the network.
    const applications = NESTS.map((nest) => ({
      nest,
      application: Application.create(join(folder, nest.type), nest, tarball),
    }));
    // The case that awaits the application reports its error.
    applications.forEach(({ application }) => void application.catch(() => undefined));
    return await runCases([
      ...tarballCases(tarball, join(dirname(tarball), 'module')),
      {
        name: `needs at most ${MAX_WIRING_LINES} lines of code to be wired`,
        run: () => {
          const lines = fileOf('src/app.module.ts').split('\n').filter(Boolean).length;
          assert.ok(lines <= MAX_WIRING_LINES, `the wiring has ${lines} lines`);
          return Promise.resolve(`${lines} lines`);
        },
      },
      ...applications.flatMap(({ nest, application }) => casesOf(nest, application, postgres.url)),
      ...applications
        .filter(({ nest }) => nest.type === 'commonjs')
        .map(({ nest, application }) => jestCase(nest, application, postgres.url)),
    ]);
  } finally {
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

await runTool(main);
