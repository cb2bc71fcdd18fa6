import { createHash } from 'node:crypto';
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Program } from '../../harness/processes.js';
import type { Library, Toolchain } from './library.js';

const SOURCES = resolve('conformance/field');
/** Git ignores this folder. */
const INSTALLED = resolve('.field');

type Command = readonly [string, ...string[]];

const PYTHON = 'venv/bin/python';

/** The commands that install a folder. Each needs only its lock file and the package registry of its language. */
const INSTALL: Readonly<Record<Toolchain, readonly Command[]>> = {
  npm: [['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund']],
  pip: [
    ['python3', '-m', 'venv', 'venv'],
    [PYTHON, '-m', 'pip', 'install', '--quiet', '--no-deps', '--requirement', 'requirements.txt'],
  ],
  go: [['go', 'build', '-o', 'server', '.']],
  cargo: [['cargo', 'build', '--locked', '--quiet']],
  maven: [['mvn', '--quiet', '--batch-mode', 'package']],
  'this project': [],
};

/** The command that starts the server of an installed folder. The process has no child processes, because the kit kills it by its id. */
const START: Readonly<Record<Toolchain, (folder: string) => Command>> = {
  npm: (folder) => [process.execPath, join(folder, 'server.js')],
  pip: (folder) => [join(folder, PYTHON), join(folder, 'server.py')],
  go: (folder) => [join(folder, 'server')],
  cargo: (folder) => [join(folder, 'target/debug/server')],
  maven: (folder) => [
    'java',
    '-cp',
    `${join(folder, 'target/classes')}:${join(folder, 'target/dependency/*')}`,
    'Server',
  ],
  'this project': () => [process.execPath, resolve('dist/src/main.js')],
};

/** Environment of each server: where Python finds the file with the effect. */
export const SERVER_ENVIRONMENT = { PYTHONPATH: INSTALLED };

/** Environment of the package managers: all of this process, because it contains settings such as the configuration of its registry. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined),
);

/**
 * Copies the folder of a library to `.field/`, installs it there unless the same files are installed already, and returns the command that starts its
 * server.
 *
 * @throws Error with the output of the package manager if it fails
 */
export async function install({ folder, toolchain }: Library): Promise<Command> {
  const target = join(INSTALLED, folder);
  const start = START[toolchain](target);
  if (toolchain === 'this project') return start;
  await mkdir(INSTALLED, { recursive: true });
  // The servers of one language share one file with the effect.
  for (const name of ['charges.js', 'charges.py']) await cp(join(SOURCES, name), join(INSTALLED, name));
  const stamp = join(target, '.installed');
  const wanted = await digestOf(join(SOURCES, folder));
  if ((await readFile(stamp, 'utf8').catch(() => '')) === wanted) return start;
  await rm(stamp, { force: true });
  await cp(join(SOURCES, folder), target, { recursive: true });
  for (const [command, ...args] of INSTALL[toolchain]) await run(target, command, args);
  await writeFile(stamp, wanted);
  return start;
}

async function digestOf(folder: string): Promise<string> {
  const hash = createHash('sha256');
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  for (const file of files.toSorted()) hash.update(file).update(await readFile(file));
  return hash.digest('hex');
}

async function run(cwd: string, name: string, args: readonly string[]): Promise<void> {
  const command = name.startsWith('venv/') ? join(cwd, name) : name;
  const program = Program.run(command, { name: `${name} ${args[0]}`, args, cwd, env: ENVIRONMENT });
  const end = await program.ended;
  if (end !== 0) throw new Error(`${cwd}: ${name} ${args.join(' ')} ended with ${end}\n${program.output}`);
}
