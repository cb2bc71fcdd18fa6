import type { Finding, Harm, Verdict } from '../finding.js';
import { countOf, evidenceLines, type Format } from './report.js';

const MARKS: Record<Verdict, string> = {
  passed: 'passed   ',
  failed: 'FAILED   ',
  undecided: 'UNDECIDED',
  skipped: 'skipped  ',
};
const ID_WIDTH = 14;
const INDENT = ' '.repeat(ID_WIDTH + 13);

/** For people. */
export const text: Format = {
  begin: ({ operation, url, profileTitle }) => `${operation} at ${url}, checked against ${profileTitle}\n\n`,
  finding: (run, finding) => {
    const { id, title, verdict, harm, detail } = finding;
    const lines = [harm ? `${harm}: ${detail}` : detail, ...evidenceLines(run, finding)];
    const indented = lines.flatMap((line) => line.split('\n')).map((line) => `${INDENT}${line}\n`);
    return `${MARKS[verdict]}  ${id.padEnd(ID_WIDTH)}  ${title}\n${indented.join('')}`;
  },
  end: (_, findings) => `\n${summary(findings)}\n`,
  abort: () => '',
};

function summary(findings: readonly Finding[]): string {
  const harms = new Map<Harm, number>();
  for (const { harm } of findings) if (harm) harms.set(harm, (harms.get(harm) ?? 0) + 1);
  const list = [...harms].map(([harm, count]) => `${count} ${harm}`).join(', ');
  const failed = `${countOf(findings, 'failed')} failed${list && ` (${list})`}`;
  return `${countOf(findings, 'passed')} passed, ${failed}, ${countOf(findings, 'undecided')} undecided, ${countOf(findings, 'skipped')} skipped`;
}
