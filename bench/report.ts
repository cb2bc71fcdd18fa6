import type { Machine } from './machine.js';
import type { AbsentRow, Result, Row, Verdict } from './results.js';

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

const absentCells = ({ contender, needs }: AbsentRow) => [contender, `not measured: needs ${needs}`, '', '', ''];

export const verdictText = ({ text, value, target, met, reason }: Verdict) =>
  `${text}: ${readable(value)} (target ${target}: ${met ? 'met' : 'not met'})${met || reason === undefined ? '' : `\n  ${reason}`}`;

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
    .map(({ title, note, rows, absent, verdicts, withoutRatios, command }) =>
      [
        title,
        ...(note === undefined ? [] : [note]),
        terminalTable(HEADINGS, [...rows.map(cells), ...absent.map(absentCells)]),
        ...verdicts.map(verdictText),
        ...(withoutRatios === undefined ? [] : [`No ratios: ${withoutRatios}.`]),
        `Repeat: ${command}`,
        '',
      ].join('\n'),
    )
    .join('\n');
}

/** A table in Markdown, with the first column aligned left and the numbers aligned right. */
export function markdownTable(headings: readonly string[], lines: readonly (readonly string[])[]): string {
  const line = (texts: readonly string[]) => `| ${texts.join(' | ')} |`;
  return [line(headings), line(headings.map((_, i) => (i === 0 ? '---' : '---:'))), ...lines.map(line)].join('\n');
}

/** The table and the targets of one scenario, in Markdown. */
export function resultMarkdown({ title, note, rows, absent, verdicts, withoutRatios, command }: Result): string {
  return [
    `### ${title}`,
    ...(note === undefined ? [] : [note]),
    markdownTable(HEADINGS, [...rows.map(cells), ...absent.map(absentCells)]),
    ...verdictsMarkdown(verdicts),
    ...(withoutRatios === undefined ? [] : [`No ratios: ${withoutRatios}.`]),
    repeatMarkdown(command),
  ].join('\n\n');
}

/** A table of targets, and the reasons why some of them were missed. */
function verdictsMarkdown(verdicts: readonly Verdict[]): string[] {
  if (verdicts.length === 0) return [];
  const targets = verdicts.map(({ text, value, target, met }) => [text, readable(value), target, metText(met)]);
  return [markdownTable(['', 'measured', 'target', ''], targets), ...missedMarkdown(verdicts)];
}

/** A list of the missed targets with their reasons, or nothing. */
export function missedMarkdown(verdicts: readonly Verdict[]): string[] {
  const missed = verdicts.filter(({ met, reason }) => !met && reason !== undefined);
  return missed.length === 0 ? [] : [missed.map(({ text, reason }) => `- not met, ${text}: ${reason}`).join('\n')];
}

export const metText = (met: boolean) => (met ? 'met' : 'not met');

/** Says how a reader repeats the figures of a section. */
export const repeatMarkdown = (command: string) => `To repeat these figures: \`${command}\``;

/** The machine that the numbers depend on, in Markdown. */
export const machineMarkdown = (machine: Machine) => machine.map(([name, value]) => `- ${name}: ${value}`).join('\n');

/** Prints a share from 0 to 1 as a percentage. */
export const percent = (share: number) => `${Math.round(share * 100)} %`;
