import { Progress } from './progress.js';

const SHOW_INTERVAL_MS = 1_000;

/** A test that runs long, with real servers. */
export interface Case {
  /** A whole sentence. */
  name: string;
  /**
   * Returns what was measured, in one line. A test that fails throws.
   *
   * @param show receives the step that begins, for the progress
   */
  run: (show: (step: string) => void) => Promise<string>;
}

/**
 * Runs cases one after the other, because they share servers, and prints each with what it has measured, or with its error. The last line has the
 * numbers, as jest prints them.
 *
 * @returns the exit code of the tool
 */
export async function runCases(cases: readonly Case[]): Promise<number> {
  const progress = new Progress(cases.length);
  let failed = 0;
  for (const { name, run } of cases) {
    let step = 'begins';
    const timer = setInterval(() => progress.show(`${name}: ${step}`), SHOW_INTERVAL_MS);
    try {
      const measured = await run((next) => (step = next));
      progress.finish(name);
      process.stdout.write(`✓ ${name}\n    ${measured}\n`);
    } catch (error) {
      failed++;
      progress.finish(name);
      process.stdout.write(`✗ ${name}\n    ${(error as Error).stack}\n`);
    } finally {
      clearInterval(timer);
    }
  }
  process.stdout.write(`Tests: ${cases.length - failed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}
