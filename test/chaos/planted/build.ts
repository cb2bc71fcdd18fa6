import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { transform } from '@swc/core';
import type { Patch, PlantedBug } from './bugs.js';

/** Makes a copy of the built service with a bug in it. The service itself has no switch for any. */
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
 * The sources of a bug, by file.
 *
 * @throws Error when what a patch replaces is not there exactly once: the source has moved on, and the patch has to follow
 */
export async function patched(patches: readonly Patch[]): Promise<Map<string, string>> {
  const sources = new Map<string, string>();
  for (const { file, find, replace } of patches) {
    const source = sources.get(file) ?? (await readFile(file, 'utf8'));
    const parts = source.split(find);
    if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times what is to be replaced: ${find}`);
    sources.set(file, parts.join(replace));
  }
  return sources;
}
