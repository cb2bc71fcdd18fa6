import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { posix } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { manifestOf, type Root } from '../../package/manifest.js';

/** Path below `src/`, and text. */
type Sources = Record<string, string>;

interface Import {
  from: string;
  /** For a file of this project: its path, relative to `src/`. Otherwise the name of a package. */
  to: string;
}

/** Folders that any feature may use. Every other folder is a feature. */
const FOUNDATIONS = ['accounts', 'database', 'http', 'idempotency', 'messaging', 'operations', 'postgres', 'timing'];

/** Folders that can be copied into another application, and all that they may import. */
const LIFTABLE: Record<string, RegExp> = {
  timing: /^(node:|timing\/)/,
  postgres: /^(@nestjs\/common$|typeorm$|node:|postgres\/)/,
  // The module has migrations of its own.
  idempotency:
    /^(@nestjs\/|typeorm$|rxjs$|cron$|lru-cache$|uuid$|node:|idempotency\/|postgres\/|timing\/|\.\.\/migrations\/idempotency\.js$)/,
  messaging:
    /^(@nestjs\/|typeorm$|rxjs$|cron$|dataloader$|amqplib$|@platformatic\/kafka$|zod$|node:|messaging\/|postgres\/|timing\/)/,
};

/** The entries of the package of the module, relative to `src/`. The service uses the module through them, so a user can do what it does. */
const MODULE_ENTRIES = ['idempotency/index.js', 'idempotency/testing/index.js'];

const MAX_LINES = 300;
const NAMELESS = /(^|[/.-])(common|utils?|helpers?|shared)([/.-]|$)/;

function importsOf(sources: Sources): Import[] {
  return Object.entries(sources).flatMap(([from, text]) =>
    // Imports of types count as well: a file that cannot be compiled without another file depends on it.
    ts.preProcessFile(text).importedFiles.map(({ fileName }) => ({
      from,
      to: fileName.startsWith('.') ? posix.join(posix.dirname(from), fileName) : fileName,
    })),
  );
}

const folderOf = (path: string) => (path.includes('/') ? (path.split('/')[0] ?? '') : '');

const featuresOf = (sources: Sources) =>
  [...new Set(Object.keys(sources).map(folderOf))].filter((folder) => folder && !FOUNDATIONS.includes(folder));

/**
 * The imports that each top folder may have, as the beginning of a path from the root. The service must run without its tools, and a
 * tool must not depend on another tool, except that the benchmark measures the libraries that the field installs. The conformance kit
 * depends on one file that depends on nothing, so that it can be published alone.
 */
const MAY_IMPORT: Record<string, string[]> = {
  src: ['src/', 'migrations/'],
  migrations: ['migrations/'],
  harness: ['harness/', 'src/database/embedded/'],
  conformance: ['conformance/', 'harness/options.'],
  'conformance/field': ['conformance/', 'harness/', 'src/database/embedded/'],
  bench: ['bench/', 'harness/', 'src/', 'conformance/field/'],
  lab: ['lab/', 'harness/', 'src/'],
  package: ['package/', 'harness/'],
  deploy: ['deploy/', 'harness/', 'src/'],
  'test/chaos': ['test/chaos/', 'harness/', 'src/'],
  'test/cells': ['test/cells/', 'test/chaos/', 'deploy/cells/move/', 'harness/', 'src/database/migrate.'],
};

/** Everything that breaks a rule about who imports whom and what things are called, in words. */
function violationsOf(sources: Sources): string[] {
  const features = featuresOf(sources);
  const broken: string[] = [];
  const imports = importsOf(sources);
  for (const { from, to } of imports) {
    const [folder, target] = [folderOf(from), folderOf(to)];
    const report = (rule: string) => broken.push(`${from} imports ${to}: ${rule}`);
    if (LIFTABLE[folder] && !LIFTABLE[folder].test(to)) report(`${folder} can be copied into another application`);
    if (isBuiltin(to) && !to.startsWith('node:')) report('built-in modules are named node:');
    if (target === 'idempotency' && folder !== target && !MODULE_ENTRIES.includes(to)) {
      report('the service uses the module through the entries of its package');
    }
    if (!features.includes(target) || target === folder) continue;
    if (features.includes(folder)) report('a feature reaches another feature only by messages');
  }
  for (const cycle of cyclesOf(imports, folderOf)) broken.push(`the folders ${cycle} import one another`);
  for (const cycle of cyclesOf(imports, fileOf)) broken.push(`the files ${cycle} import one another`);
  for (const path of Object.keys(sources)) {
    if (NAMELESS.test(path)) broken.push(`${path}: the name of a folder or file says what it is about`);
  }
  return broken;
}

/** Imports that cross the border of a top folder although they may not. Paths are relative to the root. */
/** The folder whose rule holds for a file: the innermost one. */
const ownerOf = (path: string) =>
  Object.keys(MAY_IMPORT)
    .filter((folder) => path.startsWith(`${folder}/`))
    .toSorted((a, b) => b.length - a.length)[0];

const bordersCrossed = (sources: Sources, folder: string, allowed: readonly string[]): string[] =>
  importsOf(sources)
    .filter(({ from, to }) => ownerOf(from) === folder && /^\w[\w-]*\//.test(to) && isOurs(to))
    .filter(({ to }) => !allowed.some((prefix) => to.startsWith(prefix)))
    .map(({ from, to }) => `${from} imports ${to}`);

const isOurs = (path: string) => Object.keys(MAY_IMPORT).some((folder) => path.startsWith(`${folder.split('/')[0]}/`));

const fileOf = (path: string) => path.replace(/\.(js|ts)$/, '');

/** Pairs of places that import each other, directly or through other places. */
function cyclesOf(imports: readonly Import[], placeOf: (path: string) => string): string[] {
  const targets = new Map<string, Set<string>>();
  for (const { from, to } of imports) {
    const [place, target] = [placeOf(from), placeOf(to)];
    if (!place || !target || place === target) continue;
    targets.set(place, (targets.get(place) ?? new Set()).add(target));
  }
  const reachableFrom = (place: string) => {
    const reached = new Set<string>();
    const visit = (next: string): void =>
      targets.get(next)?.forEach((target) => {
        if (reached.has(target)) return;
        reached.add(target);
        visit(target);
      });
    visit(place);
    return reached;
  };
  const places = [...targets.keys()].sort();
  const reach = new Map(places.map((place) => [place, reachableFrom(place)]));
  return places.flatMap((a) =>
    places.filter((b) => a < b && reach.get(a)?.has(b) && reach.get(b)?.has(a)).map((b) => `${a} and ${b}`),
  );
}

/** Files that are so long that they probably have more than one purpose, with their number of lines. */
const longFilesOf = (sources: Sources) =>
  Object.entries(sources)
    .map(([path, text]) => ({ path, lines: text.trimEnd().split('\n').length }))
    .filter(({ lines }) => lines > MAX_LINES);

function readSources(folder = 'src'): Sources {
  const root = new URL(`../../${folder}/`, import.meta.url);
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));
  return Object.fromEntries(paths.map((path) => [path, readFileSync(new URL(path, root), 'utf8')]));
}

describe('the architecture', () => {
  it('finds no import and no name that breaks the architecture', () => {
    expect(violationsOf(readSources())).toEqual([]);
  });

  it('has the entries of the package that the manifest exports', () => {
    const { exports } = manifestOf(JSON.parse(readFileSync('package.json', 'utf8')) as Root);
    const entries = Object.values(exports).flatMap((target) => (typeof target === 'string' ? [] : [target.default]));
    expect(entries).toEqual(MODULE_ENTRIES.map((entry) => `./dist/src/${entry}`));
  });

  it.each(Object.entries(MAY_IMPORT))('lets %s import only %j and packages', (folder, allowed) => {
    const sources = Object.fromEntries(
      Object.entries(readSources(folder)).map(([path, text]) => [`${folder}/${path}`, text]),
    );
    expect(Object.keys(sources).length).toBeGreaterThan(0);
    expect(bordersCrossed(sources, folder, allowed)).toEqual([]);
  });

  it.each([
    ['src/a.ts', `import { Program } from '../harness/processes.js';`],
    ['src/charges/a.ts', `import { median } from '../../bench/statistics.js';`],
    ['harness/a.ts', `import { median } from '../bench/statistics.js';`],
    ['harness/a.ts', `import { migrate } from '../src/database/migrate.js';`],
    ['conformance/a.ts', `import { Program } from '../harness/processes.js';`],
    ['conformance/field/a.ts', `import { median } from '../../bench/statistics.js';`],
    ['src/a.ts', `import { World } from '../lab/world/world.js';`],
    ['lab/a.ts', `import { Arena } from '../test/chaos/arena.js';`],
    ['test/chaos/a.ts', `import { World } from '../../lab/world/world.js';`],
    ['test/chaos/a.ts', `import { median } from '../../bench/statistics.js';`],
  ])('finds a forbidden import between top folders in %s: %s', (path, text) => {
    const folder = ownerOf(path) ?? '';
    const allowed = MAY_IMPORT[folder] ?? [];
    expect(bordersCrossed({ [path]: text }, folder, allowed)).toHaveLength(1);
  });

  it(`finds no file of more than ${MAX_LINES} lines`, () => {
    expect(longFilesOf(readSources())).toEqual([]);
    expect(longFilesOf({ 'a.ts': 'a\n'.repeat(MAX_LINES), 'b.ts': 'b\n'.repeat(MAX_LINES + 1) })).toEqual([
      { path: 'b.ts', lines: MAX_LINES + 1 },
    ]);
  });

  it('finds the files, their imports and the features, so that the other tests check something', () => {
    const sources = readSources();
    expect(featuresOf(sources)).toContain('charges');
    expect(importsOf(sources)).toEqual(
      expect.arrayContaining([
        { from: 'charges/charges.controller.ts', to: 'idempotency/index.js' },
        { from: 'charges/gateway/simulated-bank.ts', to: 'charges/charge.entity.js' },
        { from: 'idempotency/upkeep/recovery.ts', to: '@nestjs/schedule' },
        { from: 'database/data-source.ts', to: '../migrations/index.js' },
      ]),
    );
  });

  it.each([
    ['charges/a.ts', `import { Order } from '../orders/order.entity.js';`],
    ['charges/a.ts', `import type { Order } from '../orders/order.entity.js';`],
    ['charges/gateway/a.ts', `export * from '../../orders/order.entity.js';`],
    ['orders/a.ts', `const { Charge } = await import('../charges/charge.entity.js');`],
    ['orders/a.ts', `import '../charges/charge.entity.js';`],
    ['messaging/a.ts', `import { Problem } from '../http/problem.js';`],
    ['messaging/a.ts', `import { Charge } from '../charges/charge.entity.js';`],
    ['idempotency/a.ts', `import { Charge } from '../charges/charge.entity.js';`],
    ['idempotency/a.ts', `import { Problem } from '../http/problem.js';`],
    ['idempotency/a.ts', `import { CONFIG } from '../config.js';`],
    ['idempotency/a.ts', `import { migrations } from '../../migrations/index.js';`],
    ['charges/a.ts', `import { answerToOutage } from '../idempotency/http/idempotency.errors.js';`],
    ['app.module.ts', `import type { Unit } from './idempotency/commit/unit.js';`],
    ['idempotency/a.ts', `import { Client } from 'pg';`],
    ['idempotency/a.ts', `import fastify from 'fastify';`],
    ['timing/a.ts', `import { sqlState } from '../postgres/database-errors.js';`],
    ['http/a.ts', `import { join } from 'path';`],
    ['http/c.ts', `import { b } from '../accounts/b.js';`],
    ['accounts/b.ts', `import { b } from './c.js';`],
    ['http/utils.ts', ''],
    ['http/string-helpers.ts', ''],
    ['shared/money.ts', ''],
    ['charges/common/money.ts', ''],
  ])('finds a breach of the architecture in %s: %s', (path, text) => {
    const features = {
      'charges/charge.entity.ts': '',
      'orders/order.entity.ts': '',
      'accounts/a.ts': `import { Problem } from '../http/problem.js';`,
      'accounts/c.ts': `import { b } from './b.js';`,
    };
    expect(violationsOf({ ...features, [path]: text })).not.toEqual([]);
  });

  it.each([
    ['charges/a.ts', `import { Charge } from './charge.entity.js'; import { Problem } from '../http/problem.js';`],
    ['database/a.ts', `import { Charge } from '../charges/charge.entity.js';`],
    ['app.module.ts', `import { Charge } from './charges/charge.entity.js';`],
    ['idempotency/a.ts', `import { CronJob } from 'cron'; import { sqlState } from '../postgres/database-errors.js';`],
    ['idempotency/a.ts', `export { idempotencyMigrations } from '../../migrations/idempotency.js';`],
    ['charges/a.ts', `import { Idempotent } from '../idempotency/index.js';`],
    ['http/a.ts', `// import { join } from 'path';`],
  ])('finds no breach of the architecture in %s: %s', (path, text) => {
    expect(violationsOf({ 'charges/charge.entity.ts': '', [path]: text })).toEqual([]);
  });
});
