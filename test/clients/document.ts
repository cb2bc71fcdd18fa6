import { readFile, writeFile } from 'node:fs/promises';
import type { Kind } from './jobs.js';

const DOCUMENT = 'docs/clients.md';

/** Each table follows a comment that names it. */
const placeOf = (kind: Kind) => new RegExp(`(?<=<!-- verdicts: ${kind} -->\n\n)(?:\\|.*\\|\n)+`);

/** Writes the tables into docs/clients.md. */
export async function writeTables(tables: Record<Kind, string>): Promise<void> {
  let text = await readFile(DOCUMENT, 'utf8');
  for (const [kind, table] of Object.entries(tables)) text = text.replace(placeOf(kind as Kind), () => `${table}\n`);
  await writeFile(DOCUMENT, text);
}

/** The rows of the tables that docs/clients.md does not have, as `is` and `was`. */
export async function differences(tables: Record<Kind, string>): Promise<string[]> {
  const text = await readFile(DOCUMENT, 'utf8');
  return Object.entries(tables).flatMap(([kind, table]) => {
    const written = (placeOf(kind as Kind).exec(text)?.[0] ?? '').trimEnd().split('\n');
    return table.split('\n').flatMap((row, i) => (row === written[i] ? [] : [`is:  ${row}`, `was: ${written[i]}`]));
  });
}
