import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { matrixIn } from '../../lab/matrix.js';
import { effectsIn, endLab, type Lab, openPage, run, startBrowser, startLab } from './open-lab.js';

const { labels, rows } = matrixIn(readFileSync('docs/ladder.md', 'utf8'));

/** Plays every scenario on these steps, by the buttons of the page. */
export function playEveryScenario(steps: readonly string[]): void {
  let lab: Lab;
  let browser: Browser;
  let page: Page;
  let errors: string[];

  beforeAll(async () => {
    [lab, browser] = await Promise.all([startLab(), startBrowser()]);
    ({ page, errors } = await openPage(browser, lab.url));
  });
  afterAll(async () => {
    await browser?.close();
    if (lab) await endLab(lab);
  });

  describe.each(steps)('the page with step %s', (step) => {
    it.each(rows)('gives the verdict of the database and of the bank on: $title', async ({ title, cells }) => {
      await page.locator(`input[name=step][value="${step}"]`).check({ force: true });
      await page.getByRole('radio', { name: title }).check({ force: true });
      const shown = await run(page);

      expect(await effectsIn(lab.database, step)).toEqual({ captures: shown.captures, charges: shown.charges });
      // Only whether the step holds: `npm run ladder -- --check` compares the numbers of the document.
      expect(shown.held).toBe(cells[labels.indexOf(step)]?.startsWith('held'));
      expect(await page.locator('.code-line.marked').count()).toBeGreaterThan(0);
      expect(errors).toEqual([]);
    });
  });
}
