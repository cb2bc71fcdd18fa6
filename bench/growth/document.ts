import type { Bar, Panel } from '../chart.js';
import type { Machine } from '../machine.js';
import type { Measurement } from '../measurement.js';
import type { Options } from '../options.js';
import { machineMarkdown, markdownTable, readable, verdictText } from '../report.js';
import type { Verdict } from '../results.js';
import { median } from '../statistics.js';
import type { ManyKeys } from './many-keys.js';
import type { Memory } from './memory.js';
import type { Sweeping } from './sweeping.js';
import { summarize, type TableSample } from './table-health.js';

/** Everything that was measured. */
export interface Growth {
  manyKeys: ManyKeys;
  sweeping: Sweeping;
  memory: Memory;
}

const count = (number: number) => number.toLocaleString('en');
const of = (slices: readonly Measurement[], pick: 'p50Ms' | 'p99Ms') => slices.map((slice) => slice[pick]);

function bar(label: string, values: readonly number[], isOurs = false): Bar {
  return { label, value: median(values), lowest: Math.min(...values), highest: Math.max(...values), isOurs };
}

/** The panels of `docs/growth.svg`. */
export function growthPanels({ manyKeys, sweeping, memory }: Growth): Panel[] {
  const { rates, recordedKeys } = manyKeys;
  const curve = (label: string, samples: readonly TableSample[], pick: (sample: TableSample) => number) => ({
    label,
    points: samples.map((sample) => [sample.seconds, pick(sample)] as const),
  });
  return [
    {
      kind: 'bars',
      title: 'Fresh charges, 64 connections',
      unit: 'requests/s',
      bars: [bar('no recorded keys', rates.none), bar(`${count(recordedKeys)} keys`, rates.many, true)],
    },
    {
      kind: 'bars',
      title: `Latency at ${sweeping.ratePerSecond} charges/s while ${count(sweeping.expiredKeys)} expired keys are swept`,
      unit: 'ms',
      bars: [
        bar('p50, undisturbed', of(sweeping.undisturbed, 'p50Ms')),
        bar('p50, during the sweep', of(sweeping.disturbed, 'p50Ms'), true),
        bar('p99, undisturbed', of(sweeping.undisturbed, 'p99Ms')),
        bar('p99, during the sweep', of(sweeping.disturbed, 'p99Ms'), true),
      ],
    },
    {
      kind: 'lines',
      title: 'The table while it is swept',
      xUnit: 'seconds',
      yUnit: 'rows',
      lines: [
        curve('expired keys left', sweeping.samples, ({ sweptKeys }) => sweeping.expiredKeys - sweptKeys),
        curve('dead rows', sweeping.samples, ({ deadRows }) => deadRows),
      ],
    },
    {
      kind: 'lines',
      title: 'Memory of the process by keys recorded',
      xUnit: 'keys',
      yUnit: 'MiB',
      lines: [
        { label: 'resident', points: memory.samples.map(({ keys, rssMib }) => [keys, rssMib] as const) },
        { label: 'JavaScript heap', points: memory.samples.map(({ keys, heapMib }) => [keys, heapMib] as const) },
      ],
    },
  ];
}

const verdictsOf = ({ manyKeys, sweeping, memory }: Growth): Verdict[] => [
  manyKeys.verdict,
  sweeping.verdict,
  memory.verdict,
];

/** The results for a terminal. */
export function growthText(growth: Growth): string {
  const { manyKeys, sweeping, memory } = growth;
  const { seconds, batchRows, before, worst, after } = summarize(sweeping.samples);
  const dead = [before, worst, after].map(({ deadRows }) => count(deadRows)).join(', ');
  const latest = memory.samples.at(-1);
  return [
    `fresh charges: ${readable(median(manyKeys.rates.none))} requests/s with no recorded keys, ${readable(median(manyKeys.rates.many))} with ${count(manyKeys.recordedKeys)}`,
    `sweep: ${count(sweeping.expiredKeys)} keys in ${readable(seconds)} s, in batches of ${count(batchRows)}`,
    `dead rows before, at most, after: ${dead}; autovacuums: ${after.autovacuums - before.autovacuums}`,
    `p50 ms undisturbed, during the sweep: ${readable(median(of(sweeping.undisturbed, 'p50Ms')))}, ${readable(median(of(sweeping.disturbed, 'p50Ms')))}`,
    `p99 ms undisturbed, during the sweep: ${readable(median(of(sweeping.undisturbed, 'p99Ms')))}, ${readable(median(of(sweeping.disturbed, 'p99Ms')))}`,
    `memory after ${count(latest?.keys ?? 0)} keys: ${readable(latest?.rssMib ?? NaN)} MiB, of which heap ${readable(latest?.heapMib ?? NaN)} MiB`,
    ...verdictsOf(growth).map(verdictText),
  ].join('\n');
}

/** The whole text of `docs/growth.md`. */
export function growthDocument(growth: Growth, { rounds, seconds }: Options, machine: Machine): string {
  const { manyKeys, sweeping, memory } = growth;
  const summary = summarize(sweeping.samples);
  const slices = (name: string, some: readonly Measurement[]) => [
    name,
    String(some.length),
    ...(['p50Ms', 'p99Ms'] as const).map((pick) => readable(median(of(some, pick)))),
    `${readable(Math.min(...of(some, 'p99Ms')))} to ${readable(Math.max(...of(some, 'p99Ms')))}`,
  ];
  const moment = (name: string, { seconds: at, deadRows, tableMib, indexesMib, autovacuums }: TableSample) => [
    name,
    readable(Math.round(at)),
    count(deadRows),
    readable(tableMib),
    readable(indexesMib),
    count(autovacuums),
  ];
  const rates = (name: string, all: readonly number[]) => [
    name,
    readable(median(all)),
    `${readable(Math.min(...all))} to ${readable(Math.max(...all))}`,
  ];
  return `# How the cost grows

Written by \`npm run bench:growth -- --rounds ${rounds} --seconds ${seconds}\` on ${new Date().toISOString().slice(0, 10)}. No figure was edited.

![Fresh charges with millions of keys, latency and dead rows during a sweep, memory over an hour of keys](growth.svg)

${markdownTable(
  ['', 'measured', 'target', ''],
  verdictsOf(growth).map(({ text, value, target, met }) => [text, readable(value), target, met ? 'met' : 'not met']),
)}

The service runs as \`npm start\` starts it, with its defaults, on a PostgreSQL with \`fsync\` on that the benchmark starts. After each part
the database is checked: every charge was made, captured, announced and recorded once. Otherwise the benchmark fails and writes nothing.

## With ${count(manyKeys.recordedKeys)} recorded keys

Two services run on two databases. One database contains the keys of one day, with replies of the usual size. These keys belong to 5,000
accounts and to the account that charges. The database is vacuumed and analyzed. ${rounds} rounds of ${seconds} s each with 64 connections alternate between the two.

${markdownTable(
  ['fresh charges', 'requests/s', 'slowest to fastest round'],
  [
    rates('no recorded keys', manyKeys.rates.none),
    rates(`${count(manyKeys.recordedKeys)} recorded keys`, manyKeys.rates.many),
  ],
)}

## Sweeping ${count(sweeping.expiredKeys)} expired keys while serving

Charges are sent evenly and without waiting for answers: ${sweeping.ratePerSecond} a second, which is half of what the service can do. A latency counts
from the moment at which a request was due. The service's own schedule starts the sweep. Each slice has a p50 and a p99; the table has the medians.

${markdownTable(
  ['', 'slices', 'p50 ms', 'p99 ms', 'lowest to highest p99 ms'],
  [slices('undisturbed', sweeping.undisturbed), slices('during the sweep', sweeping.disturbed)],
)}

The sweep took ${readable(summary.seconds)} s. Every value of the metric \`idempotency_swept_total\` was a multiple of ${count(summary.batchRows)}, which is
the number of rows that one statement deletes.

${markdownTable(
  ['the table', 'second', 'dead rows', 'table MiB', 'indexes MiB', 'autovacuums'],
  [moment('before', summary.before), moment('most dead rows', summary.worst), moment('after', summary.after)],
)}

## Memory over ${count(memory.samples.at(-1)?.keys ?? 0)} keys

The service records as many keys as 100 requests a second make in an hour. The requests are sent as fast as they are answered, which was ${readable(memory.requestsPerSecond)}
a second. The memory is sampled every second and drawn in the chart. The target asks whether the memory in the last quarter of the keys is as
high as in the second quarter.

## The machine

${machineMarkdown(machine)}
`;
}
