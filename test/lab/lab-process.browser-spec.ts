// Goal: only the page drives the laboratory, and nothing of it is left behind.
// Method: send requests as another site would, and end laboratories by signals while a page is open and a replica is frozen.
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Browser } from 'playwright-core';
import supertest from 'supertest';
import { until } from '../support/waiting.js';
import { begin, endLab, type Lab, openPage, run, startBrowser, startLab } from './open-lab.js';

let browser: Browser;
let lab: Lab;
beforeAll(async () => {
  [lab, browser] = await Promise.all([startLab(), startBrowser()]);
});
afterAll(async () => {
  await browser?.close();
  if (lab) await endLab(lab);
});

const PLAY = { kind: 'play', step: '1', scenario: 'reply-lost' };
const send = (command: object, headers: Record<string, string>) =>
  supertest(new URL(lab.url).origin).post('/commands').set(headers).send(command);
const isAlive = (pid: number) => existsSync(`/proc/${pid}`) && !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));

/** The processes that descend from a process. */
function descendantsOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number);
  return children.flatMap((child) => [child, ...descendantsOf(child)]);
}

describe('the process of the laboratory', () => {
  it('refuses a command without an origin, from another origin and for another host', async () => {
    const { host, origin } = new URL(lab.url);
    const refused: Record<string, string>[] = [
      {},
      { origin: 'http://evil.example' },
      { origin: 'null' },
      { origin: origin.replace('127.0.0.1', 'localhost') },
      { host: 'evil.example', origin: 'http://evil.example' },
      { host: host.replace('127.0.0.1', 'evil.example'), origin },
    ];
    for (const headers of refused) expect([headers, (await send(PLAY, headers)).status]).toEqual([headers, 403]);
    expect((await supertest(new URL(lab.url).origin).get('/updates').set('host', 'evil.example')).status).toBe(403);
    expect(
      (await supertest(new URL(lab.url).origin).get('/catalogue').set('origin', 'http://evil.example')).status,
    ).toBe(403);
  });

  it('answers a command that is not valid with 400, and one that names nothing with 404', async () => {
    const { origin } = new URL(lab.url);
    const bad = [{}, { kind: 'act', action: 'explode', replica: 'A' }, { kind: 'play', step: 1 }, { kind: 'act' }];
    for (const command of bad) expect([command, (await send(command, { origin })).status]).toEqual([command, 400]);
    expect((await send({ ...PLAY, step: '99' }, { origin })).status).toBe(404);
    expect((await send({ kind: 'act', action: 'send', replica: 'A' }, { origin })).status).toBe(503);
  });

  it('cannot be driven by the page of another site in the same browser', async () => {
    const other = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<form></form>'));
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { page } = await openPage(browser, `http://127.0.0.1:${(other.address() as AddressInfo).port}/`);
    const attempts = `Promise.allSettled([
      fetch('${lab.url}commands', { method: 'POST', mode: 'no-cors', body: '${JSON.stringify(PLAY)}' }),
      fetch('${lab.url}commands', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '${JSON.stringify(PLAY)}' }),
      fetch('${lab.url}catalogue').then((answer) => answer.text()),
      new Promise((resolve, reject) => {
        const stream = new EventSource('${lab.url}updates');
        stream.onmessage = resolve;
        stream.onerror = reject;
      }),
    ]).then((results) => results.map(({ status }) => status))`;
    // The browser does not show the answer to a request without CORS, so only the answers of the others are known.
    expect((await page.evaluate<string[]>(attempts)).slice(1)).toEqual(['rejected', 'rejected', 'rejected']);
    const { page: own } = await openPage(browser, lab.url);
    await own.locator('button.run:enabled').waitFor();
    expect(await own.locator('button.run').textContent()).toContain('Run this failure');
    expect((await lab.database.query('SELECT FROM bank.captures')).rowCount).toBe(0);
    other.close();
  });

  it('sends a strict Content-Security-Policy, and its page loads nothing from another host', async () => {
    const { headers } = await supertest(new URL(lab.url).origin).get('/');
    expect(headers['content-security-policy']).toContain("default-src 'none'; script-src 'self'; style-src 'self'");
    expect(headers['content-security-policy']).not.toContain('unsafe');
    const { page, errors } = await openPage(browser, 'about:blank');
    const urls: string[] = [];
    page.on('request', (request) => urls.push(request.url()));
    await page.goto(lab.url);
    await run(page);
    expect(urls.length).toBeGreaterThan(5);
    expect(urls.filter((url) => !url.startsWith(lab.url))).toEqual([]);
    expect(errors).toEqual([]);
  });

  it('shows that a replica does not come back, and why, until the replica is started again', async () => {
    const { page } = await openPage(browser, `${lab.url}#step=1&scenario=by-hand`);
    await begin(page);
    const replica = page.getByRole('group', { name: 'Replica A' });
    await replica.getByRole('button', { name: 'Kill' }).click();
    const before = descendantsOf(lab.program.pid);
    await replica.getByRole('button', { name: 'Start' }).click();
    const started = () => descendantsOf(lab.program.pid).filter((pid) => !before.includes(pid) && isReplica(pid));
    await until(() => started().length > 0);
    started().forEach((pid) => process.kill(pid, 'SIGKILL'));
    await page.locator('[data-lane=A]').getByText('did not come back').waitFor();
    expect(await page.locator('.verdict').textContent()).toContain('replica A of step-1-no-key ended with SIGKILL');
    await replica.getByRole('button', { name: 'Start' }).click();
    await replica.getByRole('button', { name: 'Freeze' }).and(page.locator(':enabled')).waitFor();
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'leaves no process and no directory behind after %s, with an open page, a frozen replica and another laboratory',
    async (signal) => {
      const second = await startLab();
      expect(second.url).not.toBe(lab.url);
      const { page } = await openPage(browser, `${second.url}#step=1&scenario=by-hand`);
      await begin(page);
      await page.getByRole('group', { name: 'Replica A' }).getByRole('button', { name: 'Freeze' }).click();
      await page.locator('small[data-state=frozen]').waitFor();
      const processes = descendantsOf(second.program.pid);
      const { rows } = await second.database.query<{ data_directory: string }>('SHOW data_directory');
      const directory = rows[0]?.data_directory ?? '';
      expect(directory).toContain('payments-lab-');
      expect(processes.length).toBeGreaterThan(3);

      second.program.signal(signal);
      expect(await second.program.ended).toBe(130);
      await page.getByText('The laboratory has ended.').waitFor();
      await until(() => !processes.some(isAlive) && !existsSync(directory));
      await second.database.end();
      expect(descendantsOf(lab.program.pid).length).toBeGreaterThan(3);
    },
  );
});

const isReplica = (pid: number) =>
  isAlive(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('step-process.js');
