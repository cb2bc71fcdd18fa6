import { readFileSync } from 'node:fs';

/** The README of the module. Its blocks are the files and the commands of the test application, so they cannot differ. */
const README = readFileSync('src/idempotency/README.md', 'utf8');

const BLOCK = /^```(\w+)\n([\s\S]*?)^```$/gm;

const blocksOf = (language: string): string[] =>
  [...README.matchAll(BLOCK)].flatMap(([, found, text = '']) => (found === language ? [text] : []));

/** The files of the application, by their paths: the blocks whose first line is a comment with a path. */
export const FILES: ReadonlyMap<string, string> = new Map(
  blocksOf('ts').flatMap((text) => {
    const [, path, code] = /^\/\/ (src\/\S+)\n([\s\S]*)$/.exec(text) ?? [];
    return path && code ? [[path, code]] : [];
  }),
);

/** @throws Error if the README has no such file */
export function fileOf(path: string): string {
  const code = FILES.get(path);
  if (code === undefined) throw new Error(`expected a block of src/idempotency/README.md that begins with // ${path}`);
  return code;
}

/**
 * Returns the command that begins with a word.
 *
 * @throws Error if the README has no such command
 */
export function commandOf(program: string): string {
  const command = blocksOf('sh').find((text) => text.startsWith(`${program} `));
  if (!command) throw new Error(`expected a block of src/idempotency/README.md that begins with ${program}`);
  return command.trim();
}

/** The options of Jest for an application of CommonJS modules. */
export const JEST_OPTIONS = JSON.parse(blocksOf('json')[0] ?? '') as object;
