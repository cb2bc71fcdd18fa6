// Goal: a person understands the page, and can use it with a mouse, a keyboard and a phone.
// Method: use the page in a real Chromium. The specs of the steps play every scenario.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from '@jest/globals';
import type { Page } from 'playwright-core';
import { Barrier, until } from '../support/waiting.js';
import { begin, effectsIn, type Lab, run, sharePage, verdictOf } from './open-lab.js';

const shared = sharePage();
let page: Page;
let lab: Lab;
beforeAll(() => {
  ({ page, lab } = shared);
});

const show = (view: string) => page.goto(`${lab.url}${view}`);
const button = (name: string | RegExp, group = page.locator('main')) =>
  group.getByRole('button', { name, exact: typeof name === 'string' });
const replica = (name: 'A' | 'B') => page.getByRole('group', { name: `Replica ${name}` });
const state = (name: 'A' | 'B') => page.locator(`.lane-head[data-lane=${name}] small`);

/** Begins to act by hand on a step. */
async function actByHand(step: string): Promise<void> {
  await page.goto('about:blank');
  await show(`#step=${step}&scenario=by-hand`);
  await begin(page);
  await button('Send', replica('A')).waitFor();
}

describe('the page of the laboratory', () => {
  it('shows a first failure after one click, in a diagram, in the rows and in a sentence', async () => {
    const { sentence } = await run(page);
    expect(sentence).toBe('Two captures for one request: this customer paid twice.');
    expect(await page.locator('.verdict').textContent()).toContain('The bank captures once for each request');
    expect(await page.locator('svg .line.message').count()).toBeGreaterThan(3);
    expect(await page.locator('svg .line.bad .cross').count()).toBe(1);
    expect(await page.locator('[data-table="bank.captures"] tbody tr').count()).toBe(2);
    expect(await page.locator('[data-table="bank.captures"] td.fresh').count()).toBeGreaterThan(0);
  });

  it('leads from a failure to the step that survives it', async () => {
    await button(/Does step 2 survive this/).click();
    expect(new URL(page.url()).hash).toBe('#step=2&scenario=browser-repeats');
    expect((await run(page)).held).toBe(true);
  });

  it('reproduces the view of a link, and starts nothing by itself', async () => {
    const before = await effectsIn(lab.database, '2');
    await page.goto('about:blank');
    await show('#step=3&scenario=killed-after-capture');
    await page.locator('button.run:enabled').waitFor();
    expect(await page.locator('h1').textContent()).toBe('Killed after the bank captured, then retried');
    expect(await page.locator('.on').textContent()).toContain('Step 3');
    expect(await page.locator('.code-line.marked').first().textContent()).toContain('this.bank.capture({');
    expect(await page.locator('svg .line').count()).toBe(0);
    expect(await effectsIn(lab.database, '2')).toEqual(before);
    await button('Copy link').click();
    await page.getByText('Link copied').waitFor();
    expect(await page.evaluate('navigator.clipboard.readText()')).toBe(page.url());
  });

  it('shows the first view for a link with names that do not exist', async () => {
    await page.goto('about:blank');
    await show('#step=99&scenario=%3Cscript%3E');
    expect(await page.locator('h1').textContent()).toBe('The browser repeats a POST by itself');
  });

  it('draws a killed process as a gap, and a lost message as a cross', async () => {
    await page.goto('about:blank');
    await show('#step=3&scenario=killed-after-capture');
    await run(page);
    expect(await state('A').textContent()).toBe('killed');
    expect(await page.locator('svg .line.process.bad').textContent()).toContain('The process is killed.');
    const lanes = page.locator('svg line.lane.running');
    const [a, b] = await Promise.all([0, 1].map(async (i) => Number(await lanes.nth(i).getAttribute('y2'))));
    // The lane of A ends, and the lane of B goes on.
    expect(a).toBeLessThan(b ?? 0);
    await page.screenshot({ path: 'docs/lab.png' });
  });

  it('can be used with the keyboard alone', async () => {
    await page.goto('about:blank');
    await show('#step=1&scenario=browser-repeats');
    await page.locator('button.run:enabled').waitFor();
    await page.keyboard.press('Tab'); // to the steps
    await page.keyboard.press('Tab'); // to the failures
    await page.keyboard.press('ArrowDown');
    expect(await page.locator('h1').textContent()).toBe('Reply lost and retried');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect((await verdictOf(page)).held).toBe(false);
  });

  it('fits on a phone, in light and dark, with the button on the first screen', async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
      const box = await page.locator('button.run').boundingBox();
      expect((box?.y ?? 844) + (box?.height ?? 0)).toBeLessThan(844);
    }
    await page.emulateMedia({ colorScheme: 'light' });
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  it.each([
    ['reply-lost', { captures: 2, charges: 2 }],
    ['commit-answer-lost', { captures: 1, charges: 1 }],
  ])('copies a run of %s as commands for curl, which have the same effects and verdict', async (scenario, effects) => {
    await page.goto('about:blank');
    await show(`#step=1&scenario=${scenario}`);
    const shown = await run(page);
    await button('Copy as curl').click();
    await page.getByText('Commands copied').waitFor();
    const commands: string = await page.evaluate('navigator.clipboard.readText()');
    await promisify(execFile)('bash', ['-c', commands]).catch((error: unknown) => error);
    await show('#step=1&scenario=by-hand');
    // There may be another verdict until the page knows the last reply.
    await page.locator('.verdict h2').getByText(shown.sentence).waitFor();
    expect((await verdictOf(page)).held).toBe(false);
    expect(await effectsIn(lab.database, '1')).toEqual(effects);
  });

  it('starts again on empty tables, into which no request of the run before writes', async () => {
    await actByHand('1');
    await button('Slow bank').click();
    await button('Send', replica('A')).click();
    await until(async () => (await effectsIn(lab.database, '1')).captures === 1);
    await begin(page);
    await button('Let the lease end').click(); // this step has no lease
    await button('Send', replica('A')).click();
    expect((await verdictOf(page)).sentence).toBe('One capture, one charge, one reply.');
    expect(await page.getByText('All leases end now.').count()).toBe(0);
    expect(await effectsIn(lab.database, '1')).toEqual({ captures: 1, charges: 1 });
  });

  it('turns its buttons off from the click that asks for a run until the run or a refusal arrives', async () => {
    await actByHand('1');
    const answers = [new Barrier(), new Barrier()];
    const refusal = { status: 503, json: { error: 'The test refuses the run.' } };
    let asked = 0;
    await page.route('**/commands', async (route) => {
      const number = asked++;
      await answers[number]?.pass();
      await (number === 0 ? route.fulfill(refusal) : route.continue());
    });
    for (const answer of answers) {
      await button('Start again on empty tables').click();
      await answer.reached.given;
      expect(
        await page
          .locator('.stage .actions, .stage .handles')
          .getByRole('button', { disabled: false })
          .allTextContents(),
      ).toEqual(['Copy as curl', 'Copy link']);
      answer.open();
      await button('Send', replica('A')).and(page.locator(':enabled')).waitFor();
    }
    await page.unroute('**/commands');
    // The browser reports the refusal.
    expect(shared.errors.splice(0)).toEqual([expect.stringMatching(/503 .*commands$/)]);
  });

  it('does not show the failure of an action in the run that has ended the action', async () => {
    await actByHand('1');
    await button('Kill', replica('A')).click();
    await button('Start', replica('A')).click();
    // A replica that is fast may run before the page has shown its start.
    await page.locator('[data-lane=A] small[data-state=killed]').waitFor({ state: 'detached' });
    await actByHand('2');
    await page.getByText('Nothing to judge yet.').waitFor();
  });

  it('lets a person kill, freeze and wake replicas, lose a reply and end a lease', async () => {
    await actByHand('5');
    await button('Lose the next reply').click();
    await button('Send', replica('A')).click();
    expect((await verdictOf(page)).sentence).toBe('One capture, one charge, no replies.');
    await button('Send again', replica('B')).click();
    await page.getByText('One capture, one charge, one reply.').waitFor();

    await button('Slow bank').click();
    await button('Send', replica('A')).click();
    await page.locator('[data-table=processed_requests] meter').waitFor();
    await button('Freeze', replica('A')).click();
    await page.locator('[data-lane=A] small[data-state=frozen]').waitFor();
    await button('Bank answers again').click();
    await button('Let the lease end').click();
    await page.locator('[data-table=processed_requests]').getByText('over').waitFor();
    await button('Send again', replica('B')).click();
    await until(async () => (await effectsIn(lab.database, '5')).charges === 2);
    await button('Wake', replica('A')).click();
    const { sentence } = await verdictOf(page);
    expect(sentence).toBe('Two different replies to one request: the second result has overwritten the first.');

    await button('Kill', replica('B')).click();
    await button('Start', replica('B')).click();
    await button('Freeze', replica('B')).and(page.locator(':enabled')).waitFor();
    await button('Send ten at once').click();
    await until(async () => (await effectsIn(lab.database, '5')).charges === 3);
    await page.locator('[data-table=attempts] h3').getByText('14', { exact: true }).waitFor();
  });
});
