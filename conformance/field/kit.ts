import { resolve } from 'node:path';
import type { Finding } from '../finding.js';
import { Program } from '../../harness/processes.js';

/** The output of the kit with `--format json`. */
type Report = { readonly verdict: string } & (
  { readonly findings: readonly Finding[] } | { readonly reason: string; readonly findings?: undefined }
);

/**
 * Runs the conformance kit as its users do, and returns its findings.
 *
 * @param onProgress receives the steps of checks that take long
 * @throws Error with the reason if the kit could not check the service
 */
export async function runKit(
  url: string,
  options: readonly string[],
  onProgress: (step: string) => void,
): Promise<readonly Finding[]> {
  const args = [resolve('dist/conformance/main.js'), '--url', url, '--format', 'json', ...options];
  // The report may be longer than the output that a Program keeps.
  let stdout = '';
  const program = Program.run(process.execPath, { name: 'the conformance kit', args });
  program.child.stdout?.on('data', (text: string) => (stdout += text));
  program.child.stderr?.on('data', (text: string) => onProgress(text.trim()));
  const end = await program.ended;
  const report = parse(stdout);
  if (report?.findings) return report.findings;
  throw new Error(`The kit ended with ${end}: ${report?.reason ?? program.output}`);
}

function parse(text: string): Report | undefined {
  try {
    return JSON.parse(text) as Report;
  } catch {
    return undefined;
  }
}
