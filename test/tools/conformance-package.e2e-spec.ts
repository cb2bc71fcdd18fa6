// Goal: the tarball of the kit works in an empty folder with Node alone, and does what its README says.
// Method: pack it, lint it, look at its imports and links, and run every command of the README against this service.
import { execFile } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { isBuiltin } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { publint } from 'publint';
import ts from 'typescript';
import { CHECKS } from '../../conformance/checks/checks.js';
import { USAGE } from '../../conformance/options/usage.js';
import { portToKeep } from '../../harness/free-port.js';
import { Program } from '../../harness/processes.js';
import { run } from '../support/conformance.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll } from '../support/process.js';
import { PATIENCE } from '../support/waiting.js';

const README = readFileSync('conformance/README.md', 'utf8');
const DOCUMENT = readFileSync('docs/conformance.md', 'utf8');
const TARBALL = 'idempotency-conformance-0.1.0.tgz';

let work: string;
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'kit-'));
  // The commands below run the tarball. This is the first command of the README, in another folder.
  await promisify(execFile)('npm', ['run', 'pack:conformance', '--', work]);
});
afterAll(() => rmSync(work, { recursive: true }));

describe('the package of the conformance kit', () => {
  let folder: string;
  beforeAll(async () => {
    folder = join(work, 'unpacked');
    mkdirSync(folder);
    await promisify(execFile)('tar', ['-xzf', join(work, TARBALL), '-C', folder, '--strip-components', '1']);
  });

  it('gives publint nothing to report about the tarball', async () => {
    const bytes = readFileSync(join(work, TARBALL));
    const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const { messages } = await publint({ pack: { tarball }, strict: true, level: 'suggestion' });
    expect(messages).toEqual([]);
  });

  it('has no dependency, and imports only its own files and modules of Node', () => {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as object;
    expect(Object.keys(manifest).filter((name) => /dependencies/i.test(name))).toEqual([]);
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    const modules = files.filter((path) => path.endsWith('.js'));
    expect(modules.length).toBeGreaterThan(20);
    for (const path of modules) {
      for (const { fileName } of ts.preProcessFile(readFileSync(join(folder, path), 'utf8')).importedFiles) {
        const target = fileName.startsWith('.') ? relative(folder, resolve(folder, dirname(path), fileName)) : fileName;
        expect([path, target, isBuiltin(target) || files.includes(target)]).toEqual([path, target, true]);
      }
    }
    expect(files.filter((path) => /\.(map|ts)$|test|src/.test(path))).toEqual([]);
  });

  it('contains every file to which its documents link', () => {
    for (const path of ['README.md', 'docs/conformance.md']) {
      const links = readFileSync(join(folder, path), 'utf8').matchAll(/\]\((?!http|#)([^)#]*)/g);
      for (const [, file = ''] of links)
        expect([file, existsSync(join(folder, dirname(path), file))]).toEqual([file, true]);
    }
  });
});

describe('the documents of the conformance kit', () => {
  it('names only options in the README that the kit has', () => {
    const names = [...README.matchAll(/(?<![\w-])--(?!yes)[a-z][a-z-]+/g)].map(([name]) => name);
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => !new RegExp(`  ${name} `).test(USAGE) && name !== '--help')).toEqual([]);
  });

  it('gives every check a section that says what it sends, and what each profile expects', () => {
    const sections = DOCUMENT.split(/^## /m).slice(1);
    const pages = sections.filter((section) => /^\| profile /m.test(section));
    const ids = pages.map((section) => section.split('\n')[0]);
    expect(ids).toEqual(['Profiles', ...CHECKS.map(({ id }) => id)]);
    for (const page of pages.slice(1)) {
      expect(page).toMatch(/^Sends /m);
      for (const profile of ['ours', 'draft', 'stripe']) expect(page).toMatch(new RegExp(`^\\| .*\`${profile}\``, 'm'));
      expect(page).toMatch(/^Found: /m);
    }
  });

  it('documents the title of every check', () => {
    for (const { id, title } of CHECKS) expect(DOCUMENT).toContain(`## ${id}\n\nRequirement: ${title}.`);
  });
});

describe('the commands of the README of the conformance kit', () => {
  let database: TestDatabase;
  let port: number;
  let folder: string;
  const pidFile = () => join(folder, 'service.pid');

  beforeAll(async () => {
    folder = join(work, 'empty');
    mkdirSync(folder);
    copyFileSync(join(work, TARBALL), join(folder, TARBALL));
    database = await createDatabase();
    port = await portToKeep();
    const env = { ...PATIENCE, DATABASE_URL: database.url, PORT: String(port), IDEMPOTENCY_LEASE_SECONDS: '2' };
    const settings = Object.entries(env).map(([name, value]) => `${name}='${value}'`);
    // The shell becomes the service, so its process id is the service's.
    const start = `#!/bin/sh\necho $$ > service.pid\nexec env ${settings.join(' ')} '${process.execPath}' '${resolve('dist/src/main.js')}'\n`;
    writeFileSync(join(folder, 'start.sh'), start, { mode: 0o755 });
    await Program.run('sh', { args: ['-c', 'exec ./start.sh'], cwd: folder }).served();
  });
  afterAll(async () => {
    if (existsSync(pidFile())) process.kill(Number(readFileSync(pidFile(), 'utf8')), 'SIGKILL');
    await killAll();
    await database?.drop();
  });

  const commands = [...README.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].flatMap(([, text = '']) =>
    text.trim().split('\n'),
  );

  it('finds the commands of the README', () => {
    expect(commands[0]).toBe('npm run pack:conformance');
    expect(commands.length).toBeGreaterThan(5);
  });

  it.each(commands.slice(1).map((command) => [command]))(
    'runs the command in a folder with the tarball: %s',
    async (command) => {
      // A cache of its own, because npx would run a tarball of the same version that an earlier run has installed.
      const env = { npm_config_cache: join(work, 'npm') };
      const adapted = `cd ${folder} && ${command.replaceAll('localhost:3000', `127.0.0.1:${port}`)}`;
      const { stdout, stderr, exitCode } = await run('sh', ['-c', adapted], env);
      expect({ stdout, stderr, exitCode }).toMatchObject({ exitCode: 0 });
      if (command.startsWith('npx') && command.includes('--url') && !command.includes('--format'))
        expect(stdout).toMatch(/\d passed, 0 failed, 0 undecided/);
      if (command.includes('--openapi')) expect(stdout).toContain('POST /charges: the key is required');
      if (command.includes('--format'))
        expect(readFileSync(join(folder, 'conformance.xml'), 'utf8')).toContain('</testsuites>');
    },
  );
});
