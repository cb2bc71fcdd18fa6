import { chart, type Panel } from './chart.js';
import { NAMES } from './contenders/all.js';
import type { Machine } from './machine.js';
import { neighbourMarkdown, neighbourPanels } from './neighbour/document.js';
import type { NeighbourResult } from './neighbour/results.js';
import type { Options } from './options.js';
import { machineMarkdown, percent, readable, resultMarkdown } from './report.js';
import { type Result, resultsOf } from './results.js';
import type { Series } from './rounds.js';
import { SCENARIOS } from './scenarios.js';
import { median } from './statistics.js';

/** The panels of `docs/benchmark.svg`: each scenario on a scale of its own, since they are far apart. */
const benchmarkPanels = (results: readonly Result[]): Panel[] =>
  results.map(({ title, rows }) => ({
    kind: 'bars',
    title,
    unit: 'requests/s',
    bars: rows
      .filter(({ isCharted }) => isCharted)
      .map((row) => ({
        ...row,
        label: row.contender,
        value: row.rate,
      })),
  }));

/** The files that a run writes, by their names in `docs/`. */
export const benchmarkFiles = (
  series: readonly Series[],
  neighbour: NeighbourResult,
  options: Options,
  machine: Machine,
): Record<string, string> => ({
  'benchmark.md': benchmarkDocument(series, neighbour, options, machine),
  'benchmark.svg': chart('Requests per second', benchmarkPanels(resultsOf(series))),
  'noisy-neighbour.svg': chart('A noisy neighbour', neighbourPanels(neighbour)),
});

/** `docs/benchmark.md`, all of it. */
function benchmarkDocument(
  series: readonly Series[],
  neighbour: NeighbourResult,
  { rounds, seconds }: Options,
  machine: Machine,
): string {
  const results = resultsOf(series);
  const storm = SCENARIOS.find(({ keys }) => keys === 'one')?.requests?.usual ?? 0;
  return `# Benchmark

Written by \`npm run bench -- --rounds ${rounds} --seconds ${seconds}\` on ${new Date().toISOString().slice(0, 10)}. Nothing here was edited.

![Requests per second by scenario and contender](benchmark.svg)

## What is measured

- **${NAMES.service}**: this service as \`npm start\` and the Dockerfile start it, with its defaults and \`LOG_LEVEL=warn\`.
- **${NAMES.without}**: the same endpoint, which writes the same charge and message and calls the same bank, but knows no key: a
  TypeORM insert, the bank, a TypeORM transaction with an update and the message. Send it a request twice, and it charges twice.
- **${NAMES.textbook}**: what is commonly written: one TypeORM transaction around everything: \`find\` the key, \`insert\` it,
  \`save\` the charge, call the bank, \`save\` both, append the message. It writes the same rows of the same tables as the service.
- **${NAMES.noOp}**: the framework's ceiling. Nest on Fastify reads and validates the same body and sends the same resource; there is
  no database.
- **${NAMES.straight}**: no HTTP and no framework. One process writes the rows of the service's protocol in a loop over 16
  connections: named statements, one after the other, two transactions and the bank's capture for each charge.

All but the service are in [\`bench/contenders\`](../bench/contenders). The first two are served by the service itself, with the same API
keys, look for card numbers, validation, log and metrics; the no-op has the validation only. Pools have 10 connections; the textbook has
10 more, since it calls the bank while it holds one. The bank writes what it is asked for in one turn of the event loop with one
statement: the charges of a group come so, all others one by one. The messages of the first three are relayed and counted into the
balance by the process that is measured, while it is measured.

## How

- Every contender is a process of its own, on a database of its own, on one PostgreSQL with \`fsync\` on that the benchmark starts. The
  load generator, autocannon, is one more process. All run with \`node ${process.execArgv.join(' ')}\`.
- ${rounds} rounds of ${seconds} s for each contender in each scenario, after a round that does not count. Each round measures all of them, in
  another order. Numbers are medians over the rounds; a ratio is divided round by round before its median is taken, so that
  what slowed a whole round cancels.
- Before each measurement there is a checkpoint, so that nobody pays for the writes of another.
- After each, the database is asked: every answer was a success, there are as many more charges as answers (or requests sent,
  for those under way at the end), each captured and told of once and each, where there are keys, recorded once; of orders, each has taken one piece. A storm must have made
  one charge, and each of its ${storm.toLocaleString('en')} answers must be the same. Otherwise the benchmark fails and writes nothing.
- No target decides whether the benchmark fails. They are printed beside what was measured, met or not.
- ${senderText(series)}

## Results

${results.map(resultMarkdown).join('\n\n')}

${neighbourMarkdown(neighbour, seconds)}

## The machine

${machineMarkdown(machine)}
`;
}

/** Whether the load generator was the limit itself. */
function senderText(series: readonly Series[]): string {
  const medianOf = (id: string, pick: 'requestsPerSecond' | 'senderLoad') =>
    median(
      series
        .filter(({ scenario, contender }) => scenario.id === id && contender === 'noOp')
        .flatMap(({ rounds }) => rounds.map((round) => round[pick])),
    );
  return `autocannon sends bytes that it has built once; only the key in them is overwritten for each request. Against the ${NAMES.noOp},
  which is the hardest on it, it keeps a core ${percent(medianOf('fresh', 'senderLoad'))} busy that way, at ${readable(medianOf('fresh', 'requestsPerSecond'))} requests/s; with one request that
  never changes, as in the storm, ${percent(medianOf('storm', 'senderLoad'))} at ${readable(medianOf('storm', 'requestsPerSecond'))}. It is not what limits the others.`;
}
