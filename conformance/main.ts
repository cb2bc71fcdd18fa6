import type { Finding, Verdict } from './finding.js';
import { optionsOfProcess } from '../harness/options.js';
import { readOptions, USAGE } from './options.js';
import { findAll } from './run.js';
import { TargetError } from './target.js';

const MARKS: Record<Verdict, string> = { passed: 'passed ', failed: 'FAILED ', unknown: 'unknown' };
const ID_WIDTH = 14;

const lineOf = ({ id, title, verdict, detail }: Finding) =>
  `${MARKS[verdict]}  ${id.padEnd(ID_WIDTH)}  ${title}\n${' '.repeat(ID_WIDTH + 11)}${detail}\n`;

function summary(findings: readonly Finding[]): string {
  const count = (verdict: Verdict) => findings.filter((finding) => finding.verdict === verdict).length;
  return `${count('passed')} passed, ${count('failed')} failed, ${count('unknown')} unknown\n`;
}

async function main(): Promise<number> {
  const print = (text: string) => void process.stdout.write(text);
  const { target, profile, profileName, json } = optionsOfProcess(USAGE, readOptions);
  if (!json) print(`${target.method} ${new URL(target.path, target.url).href}, checked against ${profile.title}\n\n`);
  const findings = await findAll(target, profile, (finding) => json || print(lineOf(finding)));
  const hasFailed = findings.some(({ verdict }) => verdict === 'failed');
  if (json) {
    const verdict = hasFailed ? 'failed' : 'passed';
    print(`${JSON.stringify({ url: target.url, profile: profileName, verdict, findings }, null, 2)}\n`);
  } else print(`\n${summary(findings)}`);
  return hasFailed ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof TargetError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
