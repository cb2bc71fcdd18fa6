import { readdirSync } from 'node:fs';
import type { Scenario } from './scenario.js';

/** All scenarios, one for each file of this folder that exports one, in their order. */
export async function findScenarios(): Promise<Scenario[]> {
  const here = new URL('.', import.meta.url);
  const files = readdirSync(here).filter((name) => name.endsWith('.js'));
  const modules = await Promise.all(
    files.map(async (file) => (await import(new URL(file, here).href)) as { scenario?: Scenario }),
  );
  return modules.flatMap(({ scenario }) => scenario ?? []).sort((a, b) => a.order - b.order);
}
