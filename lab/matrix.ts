import type { Verdict } from './world/verdict.js';

/** The result of one scenario on one implementation, as the matrix shows it. */
export interface Cell {
  held: boolean;
  captures: number;
  charges: number;
  replies: Verdict['replies'];
  sentence: string;
}

/** One row of the matrix: a scenario and its result on each implementation, by label. */
export interface MatrixRow {
  title: string;
  cells: Record<string, Cell | undefined>;
}

export interface Matrix {
  labels: readonly string[];
  rows: readonly MatrixRow[];
}

const BEGIN = '<!-- matrix: npm run ladder writes it -->';
const END = '<!-- end of the matrix -->';

/** The numbers of a cell: captures, charges and acknowledged replies. `1 ≠ 1` are two replies with different bytes. */
export function numbersOf({ captures, charges, replies: { first, identical, different } }: Cell): string {
  const same = first + identical;
  return `${captures} / ${charges} / ${different > 0 ? `${same} ≠ ${different}` : same}`;
}

const cellOf = (cell: Cell | undefined) => (cell ? `${cell.held ? 'held' : '**broken**'} ${numbersOf(cell)}` : '');

/** The matrix as a table of Markdown, as prettier formats it. */
export function toMarkdown({ labels, rows }: Matrix): string {
  const head = ['scenario', ...labels];
  const lines = [head, ...rows.map(({ title, cells }) => [title, ...labels.map((label) => cellOf(cells[label]))])];
  const widths = head.map((_, i) => Math.max(3, ...lines.map((line) => line[i]?.length ?? 0)));
  const rowOf = (line: readonly string[]) => `| ${line.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  const [first = [], ...others] = lines;
  return [rowOf(first), rowOf(widths.map((width) => '-'.repeat(width))), ...others.map(rowOf)].join('\n');
}

/**
 * Returns the document with another matrix.
 *
 * @throws Error if the document has no markers
 */
export function withMatrix(document: string, matrix: string): string {
  const [before, after] = around(document);
  return `${before}${BEGIN}\n\n${matrix}\n\n${END}${after}`;
}

/** The lines of the matrix in a document, without the head. */
export function matrixIn(document: string): { labels: string[]; rows: { title: string; cells: string[] }[] } {
  const [before, after] = around(document);
  const table = document.slice(before.length + BEGIN.length, document.length - after.length - END.length).trim();
  const lines = table.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  const [[, ...labels] = [], , ...rows] = lines;
  return { labels, rows: rows.map(([title = '', ...cells]) => ({ title, cells })) };
}

function around(document: string): [before: string, after: string] {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin === -1 || end < begin) throw new Error(`The document has no matrix between "${BEGIN}" and "${END}"`);
  return [document.slice(0, begin), document.slice(end + END.length)];
}

/**
 * The differences between the cells that were measured and the document, one line each.
 *
 * @param scope whether everything was measured, so that the document must not have more rows
 */
export function differences(measured: Matrix, document: string, scope: 'all' | 'some'): string[] {
  const written = matrixIn(document);
  const found = measured.rows.flatMap(({ title, cells }) => {
    const row = written.rows.find((each) => each.title === title);
    return measured.labels.flatMap((label) => {
      const [now, then] = [cellOf(cells[label]), row?.cells[written.labels.indexOf(label)] ?? 'nothing'];
      return cells[label] && now !== then
        ? [`${title}, step ${label}: measured ${now}, the document says ${then}`]
        : [];
    });
  });
  if (scope === 'some') return found;
  const unknown = written.rows.filter((row) => measured.rows.every(({ title }) => title !== row.title));
  return [...found, ...unknown.map(({ title }) => `${title}: in the document, but not measured`)];
}
