import { existsSync, readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';
import type { Job, Result } from './jobs.js';

const CHROMIUM = '/usr/bin/chromium';
const FETCH = readFileSync('test/clients/javascript/fetch.js', 'utf8').replace('export async', 'async');

/** One request without a retry of the page. Chromium may send it twice all the same. */
const SEND_ONCE = `async function charge(url, key, body, timeoutMs) {
  const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': key };
  const signal = AbortSignal.timeout(timeoutMs);
  const response = await fetch(url + '/charges', { method: 'POST', headers, body: JSON.stringify(body), signal });
  return response.json();
}`;

/**
 * Runs jobs in a page of Chromium, one after the other. Each job first reads a page, so that its POST reuses the connection. If such a connection
 * breaks before the reply, Chromium sends the POST again by itself.
 *
 * @throws Error if Debian's Chromium is missing
 */
export async function runInChromium(jobs: readonly Job[]): Promise<Result[]> {
  if (!existsSync(CHROMIUM)) throw new Error(`test:clients needs ${CHROMIUM}: apt-get install chromium`);
  // Chromium does not run in its sandbox as root.
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({ executablePath: CHROMIUM, args });
  try {
    const page = await browser.newPage();
    // A page of the service itself, because the service does not allow requests of other origins.
    await page.goto(`${jobs[0]?.url}/health/live`);
    const results: Result[] = [];
    for (const job of jobs) {
      const call = [job.url, job.key, job.body, job.timeout_ms].map((value) => JSON.stringify(value)).join();
      const charge = job.kind === 'default' ? SEND_ONCE : FETCH;
      results.push(
        await page.evaluate<Result>(`(async () => {
          ${charge}
          await (await fetch('/health/live')).text();
          const key = ${JSON.stringify(job.key)};
          return charge(${call}).then((reply) => ({ key, reply }), (error) => ({ key, error: String(error) }));
        })()`),
      );
    }
    return results;
  } finally {
    await browser.close();
  }
}
