import { readdirSync } from 'node:fs';
import type { Scenario } from './scenario.js';

const NOT_SCENARIOS = ['find-scenarios.js', 'play.js', 'scenario.js'];

/** All scenarios, one for each file of this folder, in their order. */
export async function findScenarios(): Promise<Scenario[]> {
  const here = new URL('.', import.meta.url);
  const files = readdirSync(here).filter((name) => name.endsWith('.js') && !NOT_SCENARIOS.includes(name));
  const modules = await Promise.all(
    files.map(async (file) => (await import(new URL(file, here).href)) as { scenario: Scenario }),
  );
  return modules.map(({ scenario }) => scenario).sort((a, b) => a.order - b.order);
}
