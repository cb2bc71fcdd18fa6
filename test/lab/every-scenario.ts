import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { matrixIn } from '../../lab/matrix.js';
import { effectsIn, run, sharePage } from './open-lab.js';

const { labels, rows } = matrixIn(readFileSync('docs/ladder.md', 'utf8'));

/** Plays every scenario on these steps, by the buttons of the page. */
export function playEveryScenario(steps: readonly string[]): void {
  const shared = sharePage();

  describe.each(steps)('the page with step %s', (step) => {
    it.each(rows)('gives the verdict of the database and of the bank on: $title', async ({ title, cells }) => {
      const { page, lab } = shared;
      await page.locator(`input[name=step][value="${step}"]`).check({ force: true });
      await page.getByRole('radio', { name: title }).check({ force: true });
      const shown = await run(page);

      expect(await effectsIn(lab.database, step)).toEqual({ captures: shown.captures, charges: shown.charges });
      // Only whether the step holds: `npm run ladder -- --check` compares the numbers of the document.
      expect(shown.held).toBe(cells[labels.indexOf(step)]?.startsWith('held'));
      expect(await page.locator('.code-line.marked').count()).toBeGreaterThan(0);
    });
  });
}
