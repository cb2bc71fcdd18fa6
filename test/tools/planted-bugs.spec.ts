// Goal: prove that every planted bug still fits the source, and that the search for a bug reports the correct one of its three results.
// Method: apply the patches to the source, and run the search with rounds whose results the test chooses.
import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { PLANTED_BUGS } from '../chaos/planted/bugs.js';
import { patched } from '../chaos/planted/build.js';
import { searchFor } from '../chaos/planted/search.js';
import type { Invariant } from '../chaos/checker/verdict.js';

describe('the planted bugs', () => {
  it('plants at least fourteen bugs, with unique names', () => {
    expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length);
    expect(PLANTED_BUGS.length).toBeGreaterThanOrEqual(14);
  });

  it.each(PLANTED_BUGS.map(({ name, patches }) => ({ name, patches })))(
    'makes valid TypeScript of the present source and the planted bug $name',
    async ({ patches }) => {
      for (const [fileName, source] of await patched(patches)) {
        const { diagnostics } = ts.transpileModule(source, { fileName, reportDiagnostics: true });
        expect(diagnostics).toEqual([]);
      }
    },
  );

  it('refuses to plant a bug if the text that it replaces is missing or occurs more than once', async () => {
    const file = 'src/postgres/transaction.ts';
    await expect(patched([{ file, find: 'no such text', replace: '' }])).rejects.toThrow(
      'contains the text of a patch 0 times',
    );
    await expect(patched([{ file, find: 'import', replace: '' }])).rejects.toThrow(
      /contains the text of a patch \d+ times/,
    );
  });
});

describe('the search for a planted bug', () => {
  const LANDINGS = 3;
  /** Searches in rounds with these results. The last result repeats. */
  const search = async (...rounds: { broken: Invariant[]; landed: number }[]) => {
    let started = 0;
    const { end, about } = await searchFor(
      { breaks: 'one effect' },
      (round) => {
        started = round;
        const { broken, landed } = rounds[Math.min(round, rounds.length) - 1] ?? { broken: [], landed: 0 };
        return Promise.resolve({
          violations: broken.map((invariant) => ({ invariant, about: '' })),
          faults: new Map([['kill', { attempted: landed, landed }]]),
        });
      },
      LANDINGS,
    );
    return { end, about, started };
  };

  it('searches for a planted bug until a round breaks the invariant of the bug', async () => {
    const hidden = { broken: ['same reply' as const], landed: 3 };
    const shown = { broken: ['same reply' as const, 'one effect' as const], landed: 3 };
    expect(await search(shown)).toEqual({ end: 'found', about: 'round 1, also same reply', started: 1 });
    expect(await search(hidden, hidden, shown)).toMatchObject({ end: 'found', started: 3 });
  });

  it('reports a planted bug as MISSED if its faults have landed in every round', async () => {
    expect(await search({ broken: [], landed: 3 })).toEqual({ end: 'MISSED', about: '4 rounds', started: 4 });
  });

  it('reports a planted bug as NOT PROVOKED if its faults have not landed', async () => {
    const about = 'kill has landed 2 times of 3';
    expect(await search({ broken: [], landed: 2 })).toEqual({ end: 'NOT PROVOKED', about, started: 1 });
  });
});
