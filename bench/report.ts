import type { Machine } from './machine.js';
import type { Result, Row, Verdict } from './results.js';

const HEADINGS = ['', 'requests/s', 'slowest to fastest round', 'p50 ms', 'p99 ms'] as const;

/** A number with three significant digits. Counts and numbers from 100 on have no decimals. */
export function readable(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en');
  return value.toFixed(value >= 10 ? 1 : 2);
}

const cells = ({ contender, rate, lowest, highest, p50Ms, p99Ms }: Row) => [
  contender,
  readable(rate),
  `${readable(lowest)} to ${readable(highest)}`,
  readable(p50Ms),
  readable(p99Ms),
];

export const verdictText = ({ text, value, target, met }: Verdict) =>
  `${text}: ${readable(value)} (target ${target}: ${met ? 'met' : 'not met'})`;

/** A table for a terminal, with the first column aligned left and the numbers aligned right. */
export function terminalTable(headings: readonly string[], lines: readonly (readonly string[])[]): string {
  const widths = headings.map((heading, i) => Math.max(heading.length, ...lines.map((line) => line[i]?.length ?? 0)));
  const format = (line: readonly string[]) =>
    line.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ');
  return [headings, ...lines].map((line) => format(line)).join('\n');
}

/** All scenarios with their targets, for a terminal. */
export function resultsText(results: readonly Result[]): string {
  return results
    .map(({ title, rows, verdicts }) =>
      [title, terminalTable(HEADINGS, rows.map(cells)), ...verdicts.map(verdictText), ''].join('\n'),
    )
    .join('\n');
}

/** A table in Markdown, with the first column aligned left and the numbers aligned right. */
export function markdownTable(headings: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (texts: readonly string[]) => `| ${texts.join(' | ')} |`;
  return [line(headings), line(headings.map((_, i) => (i === 0 ? '---' : '---:'))), ...lines.map(line)].join('\n');
}

/** The table and the targets of one scenario, in Markdown. */
export function resultMarkdown({ title, rows, verdicts }: Result): string {
  const targets = verdicts.map(({ text, value, target, met }) => [
    text,
    readable(value),
    target,
    met ? 'met' : 'not met',
  ]);
  return [
    `### ${title}`,
    markdownTable(HEADINGS, rows.map(cells)),
    ...(targets.length > 0 ? [markdownTable(['', 'measured', 'target', ''], targets)] : []),
  ].join('\n\n');
}

/** The machine that the numbers depend on, in Markdown. */
export const machineMarkdown = (machine: Machine) => machine.map(([name, value]) => `- ${name}: ${value}`).join('\n');

/** Prints a share from 0 to 1 as a percentage. */
export const percent = (share: number) => `${Math.round(share * 100)} %`;
