import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Verdict } from '../../conformance/finding.js';

/** A finding as `--format json` prints it. */
export interface PrintedFinding {
  id: string;
  verdict: Verdict;
  harm?: string;
  detail: string;
  durationMs: number;
  request?: string;
  response?: { status: number; body: string };
}

export interface PrintedReport {
  verdict: string;
  findings: PrintedFinding[];
  exitCode: number;
  /** The text of stderr. */
  progress: string;
}

export interface Output {
  stdout: string;
  stderr: string;
  exitCode: number;
}

/** Runs a program to its end. */
export async function run(file: string, args: string[], env: Record<string, string> = {}): Promise<Output> {
  return promisify(execFile)(file, args, { env: { ...process.env, ...env } }).then(
    (output) => ({ ...output, exitCode: 0 }),
    (error: unknown) => {
      const { stdout, stderr, code } = error as { stdout: string; stderr: string; code: number };
      return { stdout, stderr, exitCode: code };
    },
  );
}

/** The built kit, which runs as a process of its own, as its users run it. */
export class Kit {
  private constructor(private readonly folder: string) {}

  /** Builds the kit into a folder of its own, because specs that run at the same time must not overwrite a file that another one loads. */
  static async build(): Promise<Kit> {
    const folder = mkdtempSync(resolve('dist/kit-'));
    await promisify(execFile)('npx', ['swc', 'conformance', 'harness/options.ts', '-d', folder, '--quiet']);
    return new Kit(folder);
  }

  remove(): void {
    rmSync(this.folder, { recursive: true });
  }

  run(...args: string[]): Promise<Output> {
    return run(process.execPath, [join(this.folder, 'conformance/main.js'), ...args]);
  }

  /** Runs the checks and reads the findings. */
  async check(url: string, ...options: string[]): Promise<PrintedReport> {
    const { stdout, stderr, exitCode } = await this.run('--url', url, '--format', 'json', ...options);
    if (stdout === '') throw new Error(stderr);
    return { ...(JSON.parse(stdout) as PrintedReport), exitCode, progress: stderr };
  }
}

const idsWith = ({ findings }: PrintedReport, wanted: Verdict) =>
  findings.filter(({ verdict }) => verdict === wanted).map(({ id }) => id);

export const failed = (report: PrintedReport) => idsWith(report, 'failed');
export const undecided = (report: PrintedReport) => idsWith(report, 'undecided');
export const skipped = (report: PrintedReport) => idsWith(report, 'skipped');

/** The finding of one check. */
export function findingOf({ findings }: PrintedReport, id: string): PrintedFinding {
  const found = findings.find((finding) => finding.id === id);
  if (!found) throw new Error(`The report has no finding of ${id}`);
  return found;
}
