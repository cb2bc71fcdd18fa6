import { writeFile } from 'node:fs/promises';
import { format, resolveConfig } from 'prettier';

const DOCS = new URL('../../docs/', import.meta.url);

/** Writes `docs/<name>.md`, formatted as all of the project is, and the chart beside it. */
export async function writeDocuments(name: string, markdown: string, svg: string): Promise<void> {
  const path = new URL(`${name}.md`, DOCS);
  const style = await resolveConfig(path);
  await writeFile(path, await format(markdown, { ...style, parser: 'markdown' }));
  await writeFile(new URL(`${name}.svg`, DOCS), svg);
  process.stdout.write(`Written: docs/${name}.md, docs/${name}.svg\n`);
}
