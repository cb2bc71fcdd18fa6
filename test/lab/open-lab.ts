import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals';
import { Pool } from 'pg';
import { type Browser, chromium, type Page } from 'playwright-core';
import { Program } from '../../harness/processes.js';

const CHROMIUM = '/usr/bin/chromium';
/** Ends a wait that hangs. A scenario that restarts replicas took more than 40 s on two cores with a load of 27. */
const PATIENCE_MS = 120_000;

/** A laboratory, as `npm run lab` starts it, and a connection to its PostgreSQL that does not pass the laboratory. */
export interface Lab {
  program: Program;
  url: string;
  database: Pool;
}

export async function startLab(): Promise<Lab> {
  const program = Program.start(resolve('dist/lab/lab.js'), { name: 'The laboratory', execArgv: [] });
  const url = await program.served();
  const databaseUrl = await program.expect<string>((found) => {
    const look = () => {
      const [, address] = /psql (\S+)/.exec(program.output) ?? [];
      if (address) found(address);
    };
    look();
    program.child.stderr?.on('data', look);
    return () => program.child.stderr?.off('data', look);
  });
  const database = new Pool({ connectionString: databaseUrl, max: 1 });
  database.on('error', () => undefined); // the server ends before this connection does
  return { program, url, database };
}

export async function endLab({ program, database }: Lab): Promise<void> {
  await database.end();
  program.signal('SIGTERM');
  await program.ended;
}

/** Starts Debian's Chromium. playwright-core does not download a browser. */
export function startBrowser(): Promise<Browser> {
  if (!existsSync(CHROMIUM)) throw new Error(`test:lab needs ${CHROMIUM}: apt-get install chromium`);
  // Chromium does not run in its sandbox as root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath: CHROMIUM, args });
}

/** Opens a page that fails the test if the browser reports an error, such as a breach of the Content-Security-Policy. */
export async function openPage(browser: Browser, url: string): Promise<{ page: Page; errors: string[] }> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    permissions: ['clipboard-read', 'clipboard-write'],
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const errors: string[] = [];
  // The text of a failed resource does not name the resource.
  page.on(
    'console',
    (message) => message.type() === 'error' && errors.push(`${message.text()} ${message.location().url}`),
  );
  page.on('pageerror', (error) => errors.push(error.message));
  await page.goto(url);
  return { page, errors };
}

/** The laboratory and the page that the tests of a file share. The members are undefined until the first test begins. */
export interface Shared {
  lab: Lab;
  browser: Browser;
  page: Page;
  errors: string[];
}

/** Starts a laboratory, a browser and a page before the tests of a file, and ends them after the tests. */
export function sharePage(): Shared {
  const shared = {} as Shared;
  beforeAll(async () => {
    [shared.lab, shared.browser] = await Promise.all([startLab(), startBrowser()]);
    Object.assign(shared, await openPage(shared.browser, shared.lab.url));
  });
  afterEach(() => expect(shared.errors.splice(0)).toEqual([]));
  afterAll(async () => {
    await shared.browser?.close();
    if (shared.lab) await endLab(shared.lab);
  });
  return shared;
}

export interface Shown {
  held: boolean;
  captures: number;
  charges: number;
  sentence: string;
}

/** Presses the button that starts the view, and waits until the page shows the new run and nothing of the run before. */
export async function begin(page: Page): Promise<void> {
  const button = page.locator('button.run:enabled');
  await button.waitFor();
  const before = await page.locator('.stage').getAttribute('data-run');
  await button.click();
  await page.locator(`.stage:not([data-run="${before}"])`).waitFor();
}

/** Presses the button that starts the view, and waits for the verdict. */
export async function run(page: Page): Promise<Shown> {
  await begin(page);
  return verdictOf(page);
}

export async function verdictOf(page: Page): Promise<Shown> {
  const verdict = page.locator('.verdict h2');
  await verdict.waitFor();
  const [held, captures, charges] = await Promise.all(
    ['data-held', 'data-captures', 'data-charges'].map((name) => verdict.getAttribute(name)),
  );
  const sentence = (await verdict.textContent()) ?? '';
  // Without these numbers, the box shows a problem of the laboratory.
  expect([sentence, held]).not.toEqual([sentence, null]);
  return { held: held === 'true', captures: Number(captures), charges: Number(charges), sentence };
}

/** The number of captures and of charges, from the bank's table and from the table of a step, or of the service. */
export async function effectsIn(database: Pool, step: string): Promise<{ captures: number; charges: number }> {
  const schema = step === 'service' ? 'public' : `lab_step_${step}`;
  const { rows } = await database.query<{ captures: number; charges: number }>(`
    SELECT (SELECT count(*)::int FROM bank.captures) AS captures,
           (SELECT count(*)::int FROM ${schema}.charges WHERE status = 'succeeded') AS charges`);
  return rows[0] as { captures: number; charges: number };
}
