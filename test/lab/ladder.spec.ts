// Goal: keep docs/ladder.md in step with the ladder, and the claims of the document true.
// Method: compare the matrix of the document with the files. `npm run ladder -- --check`, which CI runs, measures the matrix itself.
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { matrixIn } from '../../lab/matrix.js';

const DOCUMENT = readFileSync('docs/ladder.md', 'utf8');
const { labels, rows } = matrixIn(DOCUMENT);
const steps = readdirSync('lab/ladder').filter((name) => name.startsWith('step-'));
const scenarios = readdirSync('lab/scenarios')
  .map((name) => readFileSync(`lab/scenarios/${name}`, 'utf8'))
  .filter((text) => text.includes('export const scenario: Scenario'));

/** The titles of the scenarios in which a step is broken. */
const brokenIn = (label: string) => rows.flatMap((row) => (isBroken(row.cells, label) ? [row.title] : []));
const isBroken = (cells: string[], label: string) => cells[labels.indexOf(label)]?.startsWith('**broken**');

/** The scenarios that break each step, and no other scenario does. A change here changes what the document teaches. */
const KILLED = ['Killed between the commits, never retried'];
const COMMIT = ["COMMIT's answer lost"];
const FROZEN = ['Frozen longer than the lease, then woken'];
const STUCK = [
  'Killed after the bank captured, then retried',
  ...KILLED,
  ...COMMIT,
  "The bank's answer lost, then retried",
];
const RACES = ['Double click, one replica', 'Double click, two replicas', 'Ten at once'];
const SLOW = ['Slow bank with 40 connections'];
const RETRIES = ['The browser repeats a POST by itself', 'Reply lost and retried', 'Another body with the same key'];
const BROKEN: Record<string, string[]> = {
  1: [...RETRIES, ...RACES, ...STUCK, ...FROZEN, ...SLOW],
  2: [...RACES, ...STUCK, ...FROZEN],
  3: [...STUCK, ...SLOW],
  4: STUCK,
  5: [...KILLED, ...COMMIT, ...FROZEN],
  6: [...KILLED, ...COMMIT],
  7: [],
  service: [],
};

describe('the ladder', () => {
  it('has in the matrix of the document every step, then the service twice, and every scenario', () => {
    const numbers = steps.map((_, i) => String(i + 1));
    expect(labels).toEqual([...numbers, String(steps.length + 1), 'service']);
    const titles = scenarios.map((text) => /^ {2}title: (['"])(.*)\1,$/m.exec(text)?.[2]);
    expect(rows.map(({ title }) => title).sort()).toEqual(titles.sort());
  });

  it.each(Object.keys(BROKEN))('breaks step %s exactly where the document says, and nowhere else', (label) => {
    expect(brokenIn(label).sort()).toEqual([...(BROKEN[label] ?? [])].sort());
  });

  it('has a failure for every step but the last two that the next step survives', () => {
    for (const [i, label] of labels.slice(0, -2).entries()) {
      const next = brokenIn(labels[i + 1] ?? '');
      expect([label, brokenIn(label).filter((title) => !next.includes(title)).length]).not.toEqual([label, 0]);
    }
  });

  it.each(steps)('has between 20 and 80 lines in %s, without code of the service', (name) => {
    const text = readFileSync(`lab/ladder/${name}`, 'utf8');
    const lines = text.trimEnd().split('\n').length;
    expect(lines).toBeGreaterThanOrEqual(20);
    expect(lines).toBeLessThanOrEqual(80);
    expect(text).not.toContain('/src/');
  });

  it.each(steps)('keeps the tables of %s in a schema of their own', (name) => {
    const schemas = [...readFileSync(`lab/ladder/${name}`, 'utf8').matchAll(/lab_step_(\w+)/g)].map(([, n]) => n);
    expect(new Set(schemas)).toEqual(new Set([name.split('-')[1]]));
  });

  it.each(steps)('quotes %s in the document', (name) => {
    expect(DOCUMENT).toContain(`// From lab/ladder/${name}`);
  });
});
