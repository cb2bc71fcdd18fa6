import { describe, expect, it } from '@jest/globals';
import ts from 'typescript';
import { PLANTED_BUGS } from './chaos/planted/bugs.js';
import { patched } from './chaos/planted/build.js';

describe('the planted bugs', () => {
  it('are at least fourteen, each with a name of its own', () => {
    expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length);
    expect(PLANTED_BUGS.length).toBeGreaterThanOrEqual(14);
  });

  it.each(PLANTED_BUGS.map(({ name, patches }) => ({ name, patches })))(
    '$name can be put into the service as it is now, and is TypeScript',
    async ({ patches }) => {
      for (const [fileName, source] of await patched(patches)) {
        const { diagnostics } = ts.transpileModule(source, { fileName, reportDiagnostics: true });
        expect(diagnostics).toEqual([]);
      }
    },
  );

  it('are refused when what they replace is not there, or more than once', async () => {
    const file = 'src/idempotency/transaction.ts';
    await expect(patched([{ file, find: 'no such text', replace: '' }])).rejects.toThrow('has 0 times');
    await expect(patched([{ file, find: 'import', replace: '' }])).rejects.toThrow(/has \d+ times/);
  });
});
