import type { Machine } from '../machine.js';
import type { Options } from '../options.js';
import { machineMarkdown, markdownTable, readable } from '../report.js';
import { type CellMeasurement, rateOf } from './cell.js';

const LOADS_PER_SECOND = [1_000, 10_000, 100_000];
/** A cell is planned for half of what it can do, because the rest is needed while a replica or a standby is missing, and for bursts. */
const PLANNED_SHARE = 0.5;
const DAY_SECONDS = 86_400;
const KEY_HOURS = 24;
const MILLION = 1e6;
const [MIB, TIB] = [2 ** 20, 2 ** 40];

const count = (number: number) => Math.round(number).toLocaleString('en');
const of = ({ diskBytes }: CellMeasurement, table: string) => diskBytes.get(table) ?? NaN;

/** The results for a terminal. */
export function scaleText(cell: CellMeasurement): string {
  return [
    `charges: ${readable(rateOf(cell))} a second`,
    `WAL: ${count(cell.walBytes)} bytes for each charge`,
    ...[...cell.diskBytes].map(([table, bytes]) => `disk, ${table}: ${count(bytes)} bytes for each charge`),
    `memory: ${readable(cell.serviceBytes / MIB)} MiB`,
  ].join('\n');
}

/** A table of sentences, which are not aligned as numbers are. */
function textTable(headings: readonly string[], lines: readonly (readonly string[])[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [row(headings), row(headings.map(() => '---')), ...lines.map(row)].join('\n');
}

function loadRow(cell: CellMeasurement, perSecond: number): string[] {
  const keys = perSecond * KEY_HOURS * 3_600;
  return [
    count(perSecond),
    count(Math.ceil(perSecond / (rateOf(cell) * PLANNED_SHARE))),
    count(keys / MILLION),
    readable((keys * of(cell, 'processed_requests')) / TIB),
    readable((perSecond * DAY_SECONDS * of(cell, 'charges')) / TIB),
    readable((perSecond * cell.walBytes) / MIB),
  ];
}

/** The whole text of `docs/scale.md`. */
export function scaleDocument(cell: CellMeasurement, { rounds, seconds }: Options, machine: Machine): string {
  const { rates, charges, walBytes, serviceBytes, loadBefore } = cell;
  const million = (table: string) => readable((of(cell, table) * MILLION) / MIB);
  return `# How far it scales

Written by \`npm run bench:scale -- --rounds ${rounds} --seconds ${seconds}\` on ${new Date().toISOString().slice(0, 10)}. No figure was edited.

## One cell, measured

A cell is one PostgreSQL and the replicas that use it. Here it is one process of the service, PostgreSQL with \`fsync\` on, and the load generator, all on one
machine with a load average of ${loadBefore.toFixed(1)} before. 64 connections sent ${count(charges)} charges of one account in ${rounds} rounds. Each charge was
checked: it was made, captured, announced and recorded once.

${markdownTable(
  ['', 'measured'],
  [
    ['charges a second, median of the rounds', count(rateOf(cell))],
    ['charges a second, slowest to fastest round', `${count(Math.min(...rates))} to ${count(Math.max(...rates))}`],
    ['WAL for each charge, with its message and the balance', `${count(walBytes)} bytes`],
    ['disk for a million keys, with their replies', `${million('processed_requests')} MiB`],
    ['disk for a million charges', `${million('charges')} MiB`],
    ['memory of the process of the service', `${readable(serviceBytes / MIB)} MiB`],
  ],
)}

Disk is measured with indexes, and before PostgreSQL has vacuumed. Each key leaves one dead row when it is completed, and each message one when it has taken effect. PostgreSQL reuses the space of dead rows later.
The rate does not depend on the number of keys: [growth](growth.md) measures it with five million. One account alone reached this rate, so an account has no limit below
the limit of its cell.

## The next limit, and what to do

${textTable(
  ['limit', 'how you notice it', 'what to do'],
  [
    ['CPU of one process', 'one core is busy; latency grows with the load', 'more replicas on the same PostgreSQL'],
    [
      'connections',
      '`DATABASE_POOL_SIZE` times the replicas reaches `max_connections`',
      'PgBouncer in transaction mode; a replica needs few connections, because requests share commits',
    ],
    [
      'disk of the keys',
      'the size of `processed_requests`',
      'a shorter `IDEMPOTENCY_RETENTION_HOURS`, or one more cell; expired keys are swept',
    ],
    [
      'disk of the messages, with a broker',
      'the size of `outbox` and `processed_messages`',
      'a shorter `MESSAGE_RETENTION_HOURS`; in process, a message leaves no row',
    ],
    [
      'disk of the charges',
      'the size of `charges`, which are never deleted',
      'move old charges to another store; the service does not do this',
    ],
    [
      'PostgreSQL: CPU, WAL, vacuum',
      'commits wait, and `idempotency_oldest_unfinished_seconds` grows although the bank answers',
      'a second cell: [move accounts](operations.md#cells) to it while they are served',
    ],
    [
      'one account is larger than a cell',
      'its cell has no other account',
      'a larger machine, because an account cannot be divided',
    ],
    ['the router', 'HAProxy has a busy core', 'several routers, which share only the two maps'],
  ],
)}

## Computed

The table multiplies the figures above. Nothing in it was run.

${markdownTable(
  ['charges/s', 'cells', 'million keys', 'TiB of keys', 'TiB of charges a day', 'MiB/s of WAL'],
  LOADS_PER_SECOND.map((load) => loadRow(cell, load)),
)}

${textTable(
  ['column', 'measurement', 'assumption'],
  [
    [
      'cells',
      'charges a second of one cell',
      `a cell is planned for ${PLANNED_SHARE * 100} % of its rate, and has a machine like the one below; a larger machine needs fewer cells`,
    ],
    ['million keys', '-', `the load lasts all day, and a key is kept for ${KEY_HOURS} hours, the default`],
    ['TiB of keys', 'disk for a million keys', 'replies of the usual size, and as many dead rows as here'],
    ['TiB of charges a day', 'disk for a million charges', 'charges are never deleted, so this adds up'],
    [
      'MiB/s of WAL',
      'WAL for each charge',
      'each standby receives as much again; full-page writes are as frequent as here',
    ],
  ],
)}

Cells share nothing, so the table assumes that n cells do n times as much. \`npm run test:cells\` shows that a cell does not notice that another cell is down. No test measures
n machines.

## The machine

${machineMarkdown(machine)}
`;
}
