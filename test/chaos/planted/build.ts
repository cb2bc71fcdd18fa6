import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { transform } from '@swc/core';
import type { Patch, PlantedBug } from './bugs.js';

/** Copies the built service and puts a bug into the copy. Returns the folder of the copy. The service itself has no switch for bugs. */
export async function buildWith({ name, patches }: PlantedBug, built: string, directory: string): Promise<string> {
  const build = join(directory, name);
  await rm(build, { recursive: true, force: true });
  await mkdir(build, { recursive: true });
  await cp(built, build, { recursive: true });
  for (const [file, source] of await patched(patches)) {
    const { code } = await transform(source, { filename: file, swcrc: true, configFile: '.swcrc' });
    const target = join(build, file.replace(/\.ts$/, '.js'));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, code);
  }
  return build;
}

/**
 * The patched sources of a bug, by file.
 *
 * @throws Error if a file does not contain the text of a patch exactly once, because the source has changed and the patch has not
 */
export async function patched(patches: readonly Patch[]): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  for (const { file, find, replace } of patches) {
    const source = sources.get(file) ?? (await readFile(file, 'utf8'));
    const parts = source.split(find);
    if (parts.length !== 2)
      throw new Error(`${file} contains the text of a patch ${parts.length - 1} times instead of once: ${find}`);
    sources.set(file, parts.join(replace));
  }
  return sources;
}
