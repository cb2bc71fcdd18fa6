// Goal: keep the README and docs/strategies.md true: their curls, commands, links, snippets and test names.
// Method: run the curls against the built service, compile the snippets, and look up links and names.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, type ServiceProcess, spawnService } from '../support/process.js';

const run = promisify(execFile);
const read = (path: string) => readFileSync(path, 'utf8');
const markdownIn = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name));

const STRATEGIES = read('docs/strategies.md');
const PACKAGE = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
const READMES_OF_TOOLS = ['bench/README.md', 'conformance/README.md', 'lab/README.md', 'test/README.md'];
const DOCUMENTS = [
  'README.md',
  ...READMES_OF_TOOLS,
  'CONTRIBUTING.md',
  'src/idempotency/README.md',
  ...markdownIn('docs'),
  ...markdownIn('docs/adr'),
];
/** Documents whose commands a reader copies. conformance-package.e2e-spec.ts runs the commands of conformance/README.md. */
const WITH_COMMANDS = [
  ...['README.md', 'CONTRIBUTING.md', 'docs/operations.md', 'docs/stripe.md'],
  ...READMES_OF_TOOLS.filter((path) => path !== 'conformance/README.md'),
];
/** Documents whose curls are sent to a service, in this order, because some of them build on others. */
const WITH_REQUESTS = ['README.md', 'docs/operations.md', 'docs/strategies.md'];
const WITH_SNIPPETS = ['README.md', 'src/idempotency/README.md'];
/** Documents whose snippets quote files. */
const WITH_QUOTES = [...WITH_SNIPPETS, 'docs/adr/0024-a-phase-may-be-one-statement.md', 'docs/ladder.md'];
/** The files that run commands for CI. The image is built by CI. */
const CI = ['.ci/newcomer', '.ci/run', '.github/workflows/check.yml', 'Dockerfile'].map(read).join('\n');

interface Block {
  language: string;
  text: string;
}

const blocksOf = (path: string): Block[] =>
  [...read(path).matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({
    language,
    text: text.trim(),
  }));

const escaped = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
/** Whether `line` is what a document shows. `…` stands for any text, and ids differ from one run to the next. */
const isShown = (line: string, shown: string) =>
  new RegExp(`^${shown.split('…').map(escaped).join('.*')}$`).test(line.replace(/ch_[0-9a-f]{32}/g, 'ch_'));

/** Whether CI runs `command`, alone or with more options, or `npm run check` runs it, which CI runs. */
function isRun(command: string): boolean {
  const whole = new RegExp(`${escaped(command)}(?![\\w:-])`);
  return whole.test(CI) || whole.test(PACKAGE.scripts['check'] ?? '');
}

/** The headings of a document, as links name them. */
const headingsOf = (path: string) =>
  [...read(path).matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );

/** The rows of tables with a column "look for": the words in it must be in the file that the row links to. */
function placesOf(path: string): { path: string; file: string; words: string[] }[] {
  const tables = read(path).match(/(?:^\|.*\|\n)+/gm) ?? [];
  return tables.flatMap((table) => {
    const [head = [], , ...rows] = table
      .trimEnd()
      .split('\n')
      .map((row) => row.split(/(?<!\\)\|/).map((cell) => cell.trim()));
    const column = head.indexOf('look for');
    if (column === -1) return [];
    return rows.map((row) => {
      const [, file = ''] = /\]\(([^)#]+)/.exec(row.join('|')) ?? [];
      const words = [...(row[column] ?? '').matchAll(/`([^`]+)`/g)].map(([, word = '']) => word);
      return { path, file: join(dirname(path), file), words };
    });
  });
}

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

/** Sends the request of a line that is a curl command, to the service of this test. */
async function send(line: string): Promise<string[]> {
  const command = line
    .replace(/^curl/, 'curl -s --fail-with-body')
    .replaceAll('localhost:3000', new URL(service.url).host);
  const { stdout } = await run('bash', ['-c', `${command} || [ $? = 22 ]`]);
  return stdout.replaceAll('\r', '').split('\n');
}

describe('the documents', () => {
  it.each(WITH_REQUESTS)('gets from the service the answers that %s shows', async (path) => {
    const blocks = blocksOf(path);
    const requests = blocks.flatMap((block, i) =>
      block.text.startsWith('curl') ? [{ block, next: blocks[i + 1] }] : [],
    );
    expect(requests.length).toBeGreaterThan(0);
    for (const { block, next } of requests) {
      for (const line of block.text.split('\n')) {
        const answer = await send(line);
        // A document leaves out the headers that say nothing there, such as Date.
        const shown = next?.language === 'http' ? next.text.replaceAll(/ch_\w*…/g, 'ch_…').split('\n') : [];
        expect(shown.filter((one) => !answer.some((real) => isShown(real, one)))).toEqual([]);
      }
    }
  });

  it('gets the same bytes for both requests of README.md, because the second request is a replay', async () => {
    const [first, second] = blocksOf('README.md').filter(({ text }) => text.startsWith('curl'));
    expect(second).toEqual(first);
    const answers = [await send(first?.text ?? ''), await send(second?.text ?? '')];
    expect(answers[0]?.at(-1)).toContain('"status":"succeeded"');
    expect(answers[1]?.at(-1)).toBe(answers[0]?.at(-1));
  });

  it.each(WITH_COMMANDS)('finds every command of %s in CI', (path) => {
    const inBlocks = blocksOf(path).flatMap(({ language, text }) => (language === 'sh' ? text.split('\n') : []));
    const inText = [...read(path).matchAll(/`(npm [^`]+)`/g)].map(([, command = '']) => command);
    const commands = [...inBlocks, ...inText].filter((command) => !command.startsWith('curl'));
    expect(commands.length).toBeGreaterThan(0);
    expect(commands.filter((command) => !isRun(command))).toEqual([]);
  });

  it('finds every metric of docs/operations.md in the service', async () => {
    const { stdout } = await run('curl', ['-s', `${service.url}/metrics`]);
    const names = [...read('docs/operations.md').matchAll(/^\| `([a-z_]+)`/gm)].map(([, name = '']) => name);
    expect(names.length).toBeGreaterThan(3);
    expect(names.filter((name) => !stdout.includes(`# TYPE ${name} `))).toEqual([]);
  });

  it.each(DOCUMENTS)('finds the file and the heading of every link of %s', (path) => {
    for (const [, file = '', anchor] of read(path).matchAll(/\]\((?!http)([^)#]*)(?:#([^)]+))?\)/g)) {
      const target = file === '' ? path : join(dirname(path), file);
      expect([target, existsSync(target)]).toEqual([target, true]);
      if (anchor) expect(headingsOf(target)).toContain(anchor);
    }
  });

  const places = DOCUMENTS.flatMap((path) => placesOf(path));

  it('finds tables with a column "look for" in four documents', () => {
    expect([...new Set(places.map(({ path }) => path))]).toEqual([
      'README.md',
      'docs/glossary.md',
      'docs/ladder.md',
      'docs/patterns.md',
    ]);
  });

  it.each(places.map(({ path, file, words }) => [path, words.join(', '), file, words] as const))(
    'finds, as %s says, the words %s in the file %s',
    (_, __, file, words) => {
      const text = read(file);
      expect(words.length).toBeGreaterThan(0);
      expect(words.filter((word) => !text.includes(word))).toEqual([]);
    },
  );
});

describe('the table of docs/strategies.md', () => {
  const rows = [...STRATEGIES.matchAll(/^\| (.+?) +\| \[`(.+?)`\]\(.+?\) +\| (.+?) +\|$/gm)];

  it('finds more than 15 claims with a test in docs/strategies.md', () => {
    expect(rows.length).toBeGreaterThan(15);
  });

  it.each(rows.map(([, claim, file, name]) => [claim, file, name]))(
    'names an existing test for the claim "%s" in %s',
    (_, file = '', name = '') => {
      expect(read(join('test', file))).toContain(name);
    },
  );
});

describe('the table of docs/stripe.md', () => {
  const TESTS = read('test/features/stripe.e2e-spec.ts');
  const [, table = ''] = read('docs/stripe.md').split('## The meaning of each answer');
  const rows = [...table.matchAll(/^\| (?!Stripe answers|-)(.+?) +\| .+? +\| (.+?) +\|$/gm)];

  it('finds more than 20 answers with a test in docs/stripe.md', () => {
    expect(rows.length).toBeGreaterThan(20);
  });

  it.each(rows.map(([, answer, name = '']) => [answer, name]))(
    'names an existing test for the answer "%s"',
    (_, name) => {
      expect(TESTS).toContain(name);
    },
  );
});

describe('the snippets', () => {
  /** The snippets of a document. `source` is the file that a snippet quotes, which it names in its first line. */
  const snippetsOf = (path: string) =>
    blocksOf(path)
      .filter(({ language }) => language === 'ts')
      .map(({ text }) => ({ text, source: /^\/\/ From (\S+)$/m.exec(text)?.[1] }));

  /** The lines of a source without indentation and comments, which a snippet may change. */
  const linesOf = (text: string) => text.split('\n').map((line) => line.replace(/ \/\/ .*/, '').trim());

  it.each(WITH_QUOTES)(
    'finds the lines of the snippets of %s in the files that they quote, in the same order',
    (path) => {
      for (const { source, text } of snippetsOf(path)) {
        if (!source) continue;
        const lines = linesOf(text).slice(1);
        const quoted = linesOf(read(source));
        let from = 0;
        for (const line of lines) {
          expect(quoted.slice(from)).toContain(line);
          from = quoted.indexOf(line, from) + 1;
        }
      }
    },
  );

  it.each(WITH_SNIPPETS)('compiles the snippets of %s that do not quote a file', (path) => {
    const snippets = snippetsOf(path).filter(({ source }) => !source);
    expect(snippets.length).toBeGreaterThan(0);
    const directory = mkdtempSync(resolve('.snippets-'));
    try {
      // A snippet may name its file, and import the files of other snippets.
      const files = snippets.map(({ text }, i) => {
        const file = join(directory, /^\/\/ src\/(\S+)$/m.exec(text)?.[1] ?? `snippet-${i}.ts`);
        writeFileSync(file, text.replaceAll(/'nestjs-idempotency-postgres(.*)'/g, "'../src/idempotency$1/index.js'"));
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
