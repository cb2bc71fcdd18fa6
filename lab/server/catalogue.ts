import { readFile } from 'node:fs/promises';
import { matrixIn } from '../matrix.js';
import type { Scenario } from '../scenarios/scenario.js';
import type { Implementation } from '../world/implementations.js';
import { INVARIANTS } from '../world/verdict.js';
import type { Catalogue } from './messages.js';

const ROOT = new URL('../../../', import.meta.url);

/** Reads the source of each implementation, and what docs/ladder.md says about it. */
export async function readCatalogue(
  implementations: readonly Implementation[],
  scenarios: readonly Scenario[],
): Promise<Catalogue> {
  const matrix = matrixIn(await readFile(new URL('docs/ladder.md', ROOT), 'utf8'));
  const stepOf = async ({ label, title, source }: Implementation) => {
    const code = await readFile(new URL(source, ROOT), 'utf8');
    const column = matrix.labels.indexOf(label);
    const broken = matrix.rows.filter(({ cells }) => cells[column]?.startsWith('**broken**'));
    return {
      label,
      title,
      source,
      code,
      brokenBy: scenarios.filter((each) => broken.some((row) => row.title === each.title)).map(({ name }) => name),
      marks: Object.fromEntries(scenarios.map(({ name, decisive }) => [name, marksIn(code, decisive)])),
    };
  };
  return {
    steps: await Promise.all(implementations.map(stepOf)),
    scenarios: scenarios.map(({ name, title, story }) => ({ name, title, story })),
    invariants: INVARIANTS,
  };
}

/** The numbers of the lines, from 1, that contain one of the texts. */
export const marksIn = (code: string, texts: readonly string[]): number[] =>
  code.split('\n').flatMap((line, i) => (texts.some((text) => line.includes(text)) ? [i + 1] : []));
