import type { Finding } from '../finding.js';
import { evidenceLines, type Format, type Run } from './report.js';

/** The Test Anything Protocol, version 14: https://testanything.org/tap-version-14-specification.html. A check that could not be decided is not ok. */
export const tap: Format = {
  begin: ({ checks }) => `TAP version 14\n1..${checks}\n`,
  finding: (run, finding, number) => {
    const { id, title, verdict, detail } = finding;
    const name = `${number} - ${oneLine(`${id}: ${title}`)}`;
    switch (verdict) {
      case 'passed':
        return `ok ${name}\n`;
      case 'skipped':
        return `ok ${name} # SKIP ${oneLine(detail)}\n`;
      case 'failed':
      case 'undecided':
        return `not ok ${name}\n${diagnosis(run, finding)}`;
    }
  },
  end: () => '',
  abort: (_, reason) => `Bail out! ${oneLine(reason)}\n`,
};

/** A text within a line. `#` would begin a directive such as SKIP. */
const oneLine = (text: string) => text.replaceAll(/\s+/g, ' ').replaceAll('\\', '\\\\').replaceAll('#', '\\#');

/** A block of YAML. Texts are written as JSON, which is YAML too. */
function diagnosis(run: Run, finding: Finding): string {
  const { verdict, harm, detail, durationMs } = finding;
  const [request, ...response] = evidenceLines(run, finding);
  const members = {
    verdict,
    ...(harm && { harm }),
    message: detail,
    ...(request !== undefined && { request, response: response.join('\n') }),
    duration_ms: durationMs,
  };
  const lines = Object.entries(members).map(([name, value]) => `  ${name}: ${JSON.stringify(value)}\n`);
  return `  ---\n${lines.join('')}  ...\n`;
}
