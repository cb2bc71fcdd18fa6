// Goal: keep docs/proof.md in step with the faults, invariants, fail points and planted bugs of the chaos run.
// Method: parse the tables of the document and compare them with the code.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { INVARIANTS } from '../chaos/checker/verdict.js';
import { FAIL_POINTS } from '../chaos/fail-points.js';
import { FAULT_KINDS } from '../chaos/faults.js';
import { PLANTED_BUGS } from '../chaos/planted/bugs.js';

const PROOF = readFileSync('docs/proof.md', 'utf8');

/** The rows of all tables of the document. */
const rows = [...PROOF.matchAll(/^\|(.+)\|$/gm)].map(([, row = '']) => row.split('|').map((cell) => cell.trim()));

/** The rows of the matrix of faults: four cells, of which the last names invariants. */
const matrix = rows.filter((cells) => cells.length === 4).slice(2);

describe('docs/proof.md', () => {
  it('lists exactly the faults of the chaos run in its matrix, with invariants that they could break', () => {
    expect(matrix.map(([kind]) => kind)).toEqual(FAULT_KINDS);
    for (const [, , , breaks = ''] of matrix)
      expect(Object.keys(INVARIANTS)).toEqual(expect.arrayContaining(breaks.split(', ')));
  });

  it('lists every fail point', () => {
    const steps = [...PROOF.matchAll(/`([a-z-]+\.(?!ts`)[a-z-]+)`/g)].map(([, step]) => step);
    expect(steps).toEqual(FAIL_POINTS);
  });

  it('lists every invariant in the words of the checker', () => {
    for (const [name, meaning] of Object.entries(INVARIANTS)) expect(rows).toContainEqual([name, meaning]);
  });

  it('lists every planted bug with the invariant that it breaks', () => {
    for (const { name, breaks } of PLANTED_BUGS) expect(rows).toContainEqual([`\`${name}\``, breaks]);
  });

  it.each(FAULT_KINDS)('names an existing test for the fault %s', (kind) => {
    const row = rows.find(([name, where]) => name === kind && where?.startsWith('['));
    const [, file = ''] = /\[`(.+?)`\]/.exec(row?.[1] ?? '') ?? [];
    expect(readFileSync(join('test', file), 'utf8')).toContain(row?.[2]);
  });
});
