import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { INVARIANTS } from './chaos/checker/verdict.js';
import { FAIL_POINTS } from './chaos/fail-points.js';
import { FAULT_KINDS } from './chaos/faults.js';
import { readOptions, UsageError } from './chaos/options.js';
import { PLANTED_BUGS } from './chaos/planted/bugs.js';

const PROOF = readFileSync('docs/proof.md', 'utf8');

/** The rows of all its tables, without the heads. */
const rows = [...PROOF.matchAll(/^\|(.+)\|$/gm)].map(([, row = '']) => row.split('|').map((cell) => cell.trim()));

/** The rows of the matrix: four cells, of which the last names invariants. */
const matrix = rows.filter((cells) => cells.length === 4).slice(2);

describe('docs/proof.md', () => {
  it('has every fault in its matrix, with what it could break, and nothing else', () => {
    expect(matrix.map(([kind]) => kind)).toEqual(FAULT_KINDS);
    for (const [, , , breaks = ''] of matrix)
      expect(Object.keys(INVARIANTS)).toEqual(expect.arrayContaining(breaks.split(', ')));
  });

  it('has every step at which a process is stopped', () => {
    const steps = [...PROOF.matchAll(/`([a-z-]+\.(?!ts`)[a-z-]+)`/g)].map(([, step]) => step);
    expect(steps).toEqual(FAIL_POINTS);
  });

  it('has every invariant, in the words of the checker', () => {
    for (const [name, meaning] of Object.entries(INVARIANTS)) expect(rows).toContainEqual([name, meaning]);
  });

  it('has every planted bug, with what it breaks', () => {
    for (const { name, breaks } of PLANTED_BUGS) expect(rows).toContainEqual([`\`${name}\``, breaks]);
  });

  it.each(FAULT_KINDS)('names a test of its own for %s', (kind) => {
    const row = rows.find(([name, where]) => name === kind && where?.startsWith('['));
    const [, file = ''] = /\[`(.+?)`\]/.exec(row?.[1] ?? '') ?? [];
    expect(readFileSync(join('test', file), 'utf8')).toContain(row?.[2]);
  });
});

describe('the options of npm run chaos', () => {
  it('have defaults, and a seed that is new each time', () => {
    const [one, other] = [readOptions([]), readOptions([])];
    expect(one).toMatchObject({ mode: 'random', seconds: 60, replicas: 3, faults: FAULT_KINDS, only: [] });
    expect((one as { seed: number }).seed).not.toBe((other as { seed: number }).seed);
  });

  it('are taken as given', () => {
    const args = ['--seconds', '5', '--seed', '7', '--replicas', '2', '--faults', 'kill,storm'];
    expect(readOptions(args)).toMatchObject({ seconds: 5, seed: 7, replicas: 2, faults: ['kill', 'storm'] });
    expect(readOptions(['--planted', 'lock-in-memory'])).toMatchObject({ mode: 'planted', only: ['lock-in-memory'] });
    expect(readOptions(['--fail-points'])).toMatchObject({ mode: 'fail points' });
    expect(readOptions(['--help'])).toBe('help');
  });

  it.each([
    [['--seconds', '0'], '--seconds 0: expected an integer from 1'],
    [['--seed', 'x'], '--seed x: expected an integer from 0'],
    [['--replicas', '1'], '--replicas 1: expected an integer from 2 to 8'],
    [['--faults', 'kill,fire'], '--faults fire: expected some of kill, '],
    [['kill'], 'kill: expected options only'],
    [['--fautls', 'kill'], "Unknown option '--fautls'"],
  ])('are refused with what was expected: %j', (args, message) => {
    expect(() => readOptions(args)).toThrow(UsageError);
    expect(() => readOptions(args)).toThrow(message);
  });
});
