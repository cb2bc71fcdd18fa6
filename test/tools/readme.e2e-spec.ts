// Goal: keep the README and docs/strategies.md true: their curls, commands, links, snippets and test names.
// Method: run the curls against the built service, compile the snippets, and look up links and names.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { migrations } from '../../migrations/index.js';
import { killAll, type ServiceProcess, spawnService } from '../support/process.js';

const run = promisify(execFile);
const README = readFileSync('README.md', 'utf8');
const STRATEGIES = readFileSync('docs/strategies.md', 'utf8');
const PACKAGE = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };
const NEWCOMER = readFileSync('.ci/newcomer', 'utf8');
const WORKFLOW = readFileSync('.github/workflows/check.yml', 'utf8');
const READMES_OF_TOOLS = ['bench/README.md', 'conformance/README.md', 'test/README.md'];

interface Block {
  language: string;
  text: string;
}

const blocksOf = (markdown: string): Block[] =>
  [...markdown.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text: text.trim(),
  }));

const blocks = blocksOf(README);
/** Replaces ids and times, which differ between runs, by fixed texts. */
const normalize = (text: string) =>
  text
    .replace(/ch_[0-9a-f]{32}/g, 'ch_…')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/(x-request-id: ).*/g, '$1…')
    .replace(/\r/g, '');

let database: TestDatabase;
let service: ServiceProcess;
beforeAll(async () => {
  database = await createDatabase();
  // The bank does not answer one of the charges of the README. The limit is long enough for every other charge on a busy machine.
  service = await spawnService(database.url, { GATEWAY_TIMEOUT_MS: '3000', RECOVERY_INTERVAL_MS: '3600000' });
});
afterAll(async () => {
  await killAll();
  await database?.drop();
});

describe('the README', () => {
  it('shows the answers that its curls really get', async () => {
    const curls = blocks.flatMap((block, i) =>
      block.text.startsWith('curl') ? [[block, blocks[i + 1]] as const] : [],
    );
    expect(curls.length).toBeGreaterThanOrEqual(4);
    for (const [{ text }, shown] of curls) {
      for (const line of text.split('\n')) {
        const command = line.replaceAll('localhost:3000', new URL(service.url).host);
        const { stdout } = await run('bash', [
          '-c',
          `${command.replace(/^curl/, 'curl -s --fail-with-body')} || [ $? = 22 ]`,
        ]);
        if (shown?.language !== 'http') continue;
        const actual = normalize(stdout).split('\n');
        // The README leaves out irrelevant headers, such as Date.
        for (const expected of normalize(shown.text).split('\n')) expect(actual).toContain(expected);
      }
    }
  });

  it('names only commands that exist and that CI or this test runs', () => {
    const commands = blocks.filter(({ language }) => language === 'sh').flatMap(({ text }) => text.split('\n'));
    for (const command of commands) {
      const tested = command.startsWith('curl') || NEWCOMER.includes(`'${command}'`) || WORKFLOW.includes(command);
      expect([command, tested]).toEqual([command, true]);
    }
    const scripts = [
      ...README.matchAll(/`(?:npm run |npm )?((?:start:dev|migration:\w+|check|lint|format|typecheck|build))/g),
    ];
    expect(scripts.length).toBeGreaterThan(8);
    for (const [, script = ''] of scripts) expect(Object.keys(PACKAGE.scripts)).toContain(script);
  });

  it.each(READMES_OF_TOOLS)('of a tool, %s, contains only commands that CI runs', (path) => {
    const commands = blocksOf(readFileSync(path, 'utf8')).flatMap(({ text }) => text.split('\n'));
    expect(commands.length).toBeGreaterThan(0);
    const executed = [WORKFLOW, NEWCOMER, ...Object.values(PACKAGE.scripts)].join('\n');
    for (const command of commands) expect([command, executed.includes(command)]).toEqual([command, true]);
  });

  it.each(['migration:show', 'migration:run', 'migration:revert'])(
    'names npm run %s, and the command works',
    async (script) => {
      // Skips the build, because it would delete files that other tests use at the same time.
      const command = PACKAGE.scripts[script]?.replace('npm run --silent build && ', '') ?? '';
      const env = { PATH: `node_modules/.bin:${process.env['PATH']}`, DATABASE_URL: database.url };
      const { stdout } = await run('bash', ['-c', command], { env });
      expect(stdout).toContain(script === 'migration:run' ? 'nothing to migrate' : migrations.at(-1)?.name);
    },
  );

  it.each(['README.md', 'src/idempotency/README.md', 'docs/strategies.md', 'docs/proof.md', ...READMES_OF_TOOLS])(
    'and %s link only to files that exist',
    (path) => {
      const links = [...readFileSync(path, 'utf8').matchAll(/\]\((?!http)([^)#]+)/g)];
      expect(links.length).toBeGreaterThan(0);
      for (const [, link = ''] of links) expect(() => readFileSync(resolve(dirname(path), link))).not.toThrow(/ENOENT/);
    },
  );
});

describe('the table of docs/strategies.md', () => {
  const rows = [...STRATEGIES.matchAll(/^\| (.+?) +\| \[`(.+?)`\]\(.+?\) +\| (.+?) +\|$/gm)];

  it('has more than 15 claims with a test', () => {
    expect(rows.length).toBeGreaterThan(15);
  });

  it.each(rows.map(([, claim, file, name]) => [claim, file, name]))(
    'names an existing test for the claim "%s" in %s',
    (_, file = '', name = '') => {
      expect(readFileSync(join('test', file), 'utf8')).toContain(name);
    },
  );
});

describe('the snippets', () => {
  it.each(['README.md', 'src/idempotency/README.md'])('of %s compile as they stand', (path) => {
    const snippets = blocksOf(readFileSync(path, 'utf8')).filter(({ language }) => language === 'ts');
    expect(snippets.length).toBeGreaterThan(0);
    const directory = mkdtempSync(resolve('.snippets-'));
    try {
      const files = snippets.map(({ text }, i) => {
        const file = join(directory, `snippet-${i}.ts`);
        writeFileSync(file, text.replaceAll("'./src/", "'../src/"));
        return file;
      });
      const { config } = ts.readConfigFile('tsconfig.json', (file) => ts.sys.readFile(file)) as { config: object };
      const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, '.');
      const program = ts.createProgram(files, { ...options, noEmit: true });
      const errors = ts
        .getPreEmitDiagnostics(program)
        .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
      expect(errors).toEqual([]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
