import { writeFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';

const DOCS = new URL('../../docs/', import.meta.url);

/**
 * Writes files by name. Markdown is formatted like the rest of the project.
 *
 * @param folder with a slash at the end; `docs/` unless given
 */
export async function writeDocuments(files: Record<string, string>, folder = DOCS): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    const style = await resolveConfig(new URL(name, DOCS));
    const isMarkdown = name.endsWith('.md');
    const content = isMarkdown ? await format(text, { ...style, parser: 'markdown' }) : text;
    const url = new URL(name, folder);
    await writeFile(url, content);
    process.stdout.write(`Written: ${relative(process.cwd(), fileURLToPath(url))}\n`);
  }
}
