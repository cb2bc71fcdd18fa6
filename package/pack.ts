import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { manifestOf, type Root } from './manifest.js';

const run = promisify(execFile);

/** A link of Markdown to another file of this repository. */
const LINK_TO_A_FILE = /\[([^\]]+)\]\((?!https?:|#)[^)]+\)/g;

/** Keeps the text of links to files of this repository, because the package does not contain those files. */
export const withoutLinksToFiles = (markdown: string) => markdown.replace(LINK_TO_A_FILE, '$1');

/**
 * Makes the package of the idempotency module from the sources of this repository.
 *
 * @param folder the folder of the tarball; it is created if it does not exist
 * @returns the path of the tarball
 */
export async function packModule(folder: string): Promise<string> {
  const staged = resolve(folder, 'module');
  await rm(staged, { recursive: true, force: true });
  await mkdir(staged, { recursive: true });
  await compile(join(staged, 'dist'));
  const root = JSON.parse(await readFile('package.json', 'utf8')) as Root;
  await writeFile(join(staged, 'package.json'), `${JSON.stringify(manifestOf(root), undefined, 2)}\n`);
  await writeFile(join(staged, 'README.md'), withoutLinksToFiles(await readFile('src/idempotency/README.md', 'utf8')));
  await cp('LICENSE', join(staged, 'LICENSE'));
  const { stdout } = await run('npm', ['pack', staged, '--pack-destination', resolve(folder), '--json']);
  const [packed] = JSON.parse(stdout) as { filename: string }[];
  return resolve(folder, packed?.filename ?? '');
}

/** @throws Error with the messages of the compiler */
async function compile(outDir: string): Promise<void> {
  const tsc = ['node_modules/typescript/bin/tsc', '-p', 'package', '--outDir', outDir];
  await run(process.execPath, tsc).catch((error: unknown) => {
    throw new Error(`The module cannot be compiled: ${(error as { stdout: string }).stdout}`, { cause: error });
  });
}
