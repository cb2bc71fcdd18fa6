// Goal: the page marks the right lines even after an edit of a step or of the service.
// Method: look for the texts of each scenario in the sources.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import type { Scenario } from '../../lab/scenarios/scenario.js';
import { marksIn } from '../../lab/server/catalogue.js';
import { findImplementations } from '../../lab/world/implementations.js';

/** More lines would not guide a reader. */
const MOST_LINES = 8;

const steps = readdirSync('lab/ladder').filter((name) => name.startsWith('step-'));
// The steps are found among compiled files, so only the two forms of the service are found here.
const ofService = (await findImplementations()).map(({ source }) => source);
const sources = [...steps.map((name) => `lab/ladder/${name}`), ...ofService].map((path) => ({
  path,
  code: readFileSync(path, 'utf8'),
}));
const files = readdirSync('lab/scenarios').filter((name) => name.endsWith('.ts'));
const modules = await Promise.all(
  files.map(
    async (name) =>
      (await import(`../../lab/scenarios/${name.replace('.ts', '.js')}`)) as {
        scenario?: Pick<Scenario, 'name' | 'decisive'>;
      },
  ),
);
const scenarios = modules.flatMap(({ scenario }) => scenario ?? []);

describe('the lines that decide a scenario', () => {
  it('are looked for in every step, in both forms of the service and for every scenario', () => {
    expect(sources).toHaveLength(steps.length + 2);
    expect(scenarios.length).toBeGreaterThan(12);
  });

  it.each(scenarios)('exist in every implementation for $name, and are few', ({ decisive }) => {
    for (const { path, code } of sources) {
      const marks = marksIn(code, decisive);
      expect([path, marks.length > 0, marks.length <= MOST_LINES]).toEqual([path, true, true]);
    }
  });

  it.each(scenarios)('are found by each text of $name', ({ decisive }) => {
    expect(decisive.filter((text) => sources.every(({ code }) => !code.includes(text)))).toEqual([]);
  });
});
