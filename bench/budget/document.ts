import { markdownTable, readable, terminalTable } from '../report.js';
import { median, medianRatio } from '../statistics.js';
import type { TreeBudget } from './budget.js';
import { type Column, columnsOf, FIGURE_NAMES, type Operation, OPERATIONS, type Readings } from './figures.js';
import { USUAL } from './round.js';

/** A cost that occurs less than once in a thousand requests is printed as 0. */
const LEAST = 0.001;
/** WAL records that are rarer are not listed. */
const RAREST_RECORD = 0.01;
const WAL_HEADINGS = ['WAL records', 'number', 'bytes'] as const;
/** The operations that write rows. */
const WRITING = ['charge', 'message', 'sweep', 'order'] as const satisfies readonly Operation[];

/** Numbers below this one need more decimals than others. */
const SMALL = 0.1;

function cell(value: number): string {
  if (value < LEAST) return '0';
  return value < SMALL ? value.toPrecision(2) : readable(value);
}

const headingsOf = (columns: readonly Column[]) => ['', ...columns.map(({ name }) => name)];

const linesOf = (columns: readonly Column[]) =>
  FIGURE_NAMES.map((name) => [name, ...columns.map(({ rounds }) => cell(median(rounds[name])))]);

/** The WAL records of one operation in the first round, the most frequent first. */
function walLines(readings: Readings, operation: Operation): string[][] {
  const [{ wal, requests } = { wal: [], requests: NaN }] = readings[operation];
  return wal
    .filter(({ records }) => records / requests >= RAREST_RECORD)
    .sort((a, b) => b.records - a.records || a.relation.localeCompare(b.relation))
    .map(({ type, relation, records, bytes, pageImageBytes }) => [
      `${type} ${relation}`.trim(),
      (records / requests).toFixed(2),
      ((bytes - pageImageBytes) / requests).toFixed(1),
    ]);
}

/** The figures for a terminal, or the comparison of two trees. */
export function budgetText(budgets: readonly TreeBudget[]): string {
  const figures = budgets.length === 1 ? figuresText(budgets) : comparisonText(budgets);
  const wal = budgets.flatMap(({ tree, readings }) =>
    WRITING.map((operation) =>
      [`${OPERATIONS[operation]}, ${tree.name}`, terminalTable(WAL_HEADINGS, walLines(readings, operation)), ''].join(
        '\n',
      ),
    ),
  );
  return [...figures, ...wal].join('\n');
}

function figuresText(budgets: readonly TreeBudget[]): string[] {
  return budgets.flatMap(({ readings }) => {
    const { charges, others } = columnsOf(readings);
    return [charges, others].map((columns) => `${terminalTable(headingsOf(columns), linesOf(columns))}\n`);
  });
}

/** A table for each operation. The ratio is the median of the ratios of the rounds. */
function comparisonText(budgets: readonly TreeBudget[]): string[] {
  const [ours = [], theirs = []] = budgets.map(({ readings }) => {
    const { charges, others } = columnsOf(readings);
    return [...charges, ...others];
  });
  return ours.map((column, i) => {
    const other = theirs[i] ?? column;
    const lines = FIGURE_NAMES.map((name) => {
      const [here, there] = [column.rounds[name], other.rounds[name]];
      const ratio = median(there) < LEAST ? '' : medianRatio(here, there).toFixed(3);
      return [name, cell(median(here)), cell(median(there)), ratio];
    });
    return `${terminalTable([column.name, ...budgets.map(({ tree }) => tree.name), 'ratio'], lines)}\n`;
  });
}

/** The section of the document. */
export function budgetMarkdown(readings: Readings): string {
  const { charges, others } = columnsOf(readings);
  const thousands = (requests: number) => requests.toLocaleString('en');
  return `## What one operation costs

Each figure is for one request, and is the median of the rounds.

- **${OPERATIONS.charge}**, **${OPERATIONS.replay}** and **${OPERATIONS.order}**: the requests come over 64 connections, so they share statements and commits.
- **${OPERATIONS.loneCharge}**: the requests come over one connection, one after the other, so each has its own statements and commits.
- **bank apart**: the service calls a bank over HTTP. The bank is a process of its own, whose work is not measured. In the other columns the simulated bank
  writes its captures to the same database.
- **${OPERATIONS.message}**: the relay publishes the message of one charge, and the consumers process it. The messages come from a backlog, so the relay takes them in full batches.
- **${OPERATIONS.sweep}**: the sweep deletes the key and the messages of one charge, and VACUUM frees the space of all dead rows of the charge.

${[charges, others].map((columns) => markdownTable(headingsOf(columns), linesOf(columns))).join('\n\n')}

- In each round, each operation is measured with ${thousands(USUAL.requests)} requests, or with ${thousands(USUAL.loneRequests)} over one connection. The processes have served ${thousands(USUAL.warmUp)} requests of
  each kind before. Each round has new processes and a new database. Before each measurement there is a checkpoint.
- One process serves the charges, a second process delivers their messages, and a third process sweeps. While one of them is measured, the others are stopped, so the
  charge, the message and the sweep have separate figures. A process that serves requests does nothing in the background.
- CPU is the user and system time that the kernel has counted: for Node, of the process of the service with all its threads; for PostgreSQL, of all its
  processes except those that serve the benchmark. Autovacuum is off, because it would run in some rounds only.
- Statements, round trips and transactions are counted in the messages between the service and PostgreSQL. Statements include BEGIN and COMMIT. A statement that is sent
  before the answers to earlier statements have arrived shares their round trip.
- Rows, index entries, heap records and page images are counted in the WAL, with \`pg_walinspect\`. An update or a deletion leaves a dead row. PostgreSQL writes the image of a page when the
  page changes for the first time after a checkpoint, so the number of images depends on the time between two checkpoints.
- The fsyncs are those of the WAL, from \`pg_stat_io\`.
- The bytes to and from clients, PostgreSQL and the bank are the content of the TCP connections, without the headers of TCP and IP.
- The allocated bytes are those of the JavaScript heap, computed from its sizes before and after each garbage collection. The bytes of buffers are outside of the heap.

${(['charge', 'message'] as const).map((operation) => `The WAL of one ${OPERATIONS[operation]}:\n\n${markdownTable(WAL_HEADINGS, walLines(readings, operation))}`).join('\n\n')}`;
}
