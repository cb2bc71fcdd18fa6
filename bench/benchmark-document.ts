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

/** The panels of `docs/benchmark.svg`. Each scenario has a scale of its own, because their numbers differ a lot. */
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

/** The files that a run writes to `docs/`, by name. */
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

/** The whole text of `docs/benchmark.md`. */
function benchmarkDocument(
  series: readonly Series[],
  neighbour: NeighbourResult,
  { rounds, seconds }: Options,
  machine: Machine,
): string {
  const results = resultsOf(series);
  const storm = SCENARIOS.find(({ keys }) => keys === 'one')?.requests?.usual ?? 0;
  return `# Benchmark

Written by \`npm run bench -- --rounds ${rounds} --seconds ${seconds}\` on ${new Date().toISOString().slice(0, 10)}. No figure was edited.

![Requests per second by scenario and contender](benchmark.svg)

## What is measured

- **${NAMES.service}**: this service as \`npm start\` and the Dockerfile start it, with its defaults and \`LOG_LEVEL=warn\`.
- **${NAMES.without}**: the same endpoint, which writes the same charge and message and calls the same bank, but has no keys: a
  TypeORM insert, the bank, a TypeORM transaction with an update and the message. If a request is sent twice, it charges twice.
- **${NAMES.textbook}**: the usual solution: one TypeORM transaction around everything: \`find\` the key, \`insert\` it,
  \`save\` the charge, call the bank, \`save\` both, append the message. It writes the same rows of the same tables as the service.
- **${NAMES.noOp}**: the upper limit of the framework. Nest on Fastify reads and validates the same body and sends the same resource; there is
  no database.
- **${NAMES.straight}**: without HTTP and framework. One process writes the rows of the service's protocol in a loop over 16
  connections: named statements, one after the other, two transactions and the bank's capture for each charge.

All contenders except the service are in [\`bench/contenders\`](../bench/contenders). **${NAMES.without}** and **${NAMES.textbook}** run within the application of
the service, with the same API keys, check for card numbers, validation, log and metrics. The no-op has only the validation. Pools have 10 connections; the
textbook has 10 more, because it calls the bank while it holds a connection. The bank writes all captures that it receives in one turn of
the event loop with one statement. The charges of one group of the service arrive in one turn, and all other charges arrive one by one. In the
service and the two contenders within it, the measured process also relays its messages and adds them to the balance while it is measured.

## How

- Every contender is a process of its own, on a database of its own, on one PostgreSQL with \`fsync\` on that the benchmark starts. The
  load generator, autocannon, is one more process. All run with \`node ${process.execArgv.join(' ')}\`.
- ${rounds} rounds of ${seconds} s for each contender in each scenario, after a round that does not count. Each round measures all contenders, in
  an order of its own. Numbers are medians over the rounds. A ratio is computed round by round before its median is taken, so that
  a disturbance of a whole round cancels.
- Before each measurement there is a checkpoint, so that no contender pays for the writes of another one.
- After each measurement the database is checked: every answer was a success; there are as many new charges as answers (up to the number
  of requests sent, because some are in flight at the end); each charge was captured once, announced in one message and, if there are keys,
  recorded once; each order has taken one piece. A storm must have made one charge, and each of its ${storm.toLocaleString('en')} answers must be
  the same. Otherwise the benchmark fails and writes nothing.
- The benchmark does not fail if a target is missed. Targets are printed beside the measured numbers, met or not.
- ${senderText(series)}

## Results

${results.map(resultMarkdown).join('\n\n')}

${neighbourMarkdown(neighbour, seconds)}

## The machine

${machineMarkdown(machine)}
`;
}

/** Says how busy the load generator was, so that a reader sees whether it limited the numbers. */
function senderText(series: readonly Series[]): string {
  const medianOf = (id: string, pick: 'requestsPerSecond' | 'senderLoad') =>
    median(
      series
        .filter(({ scenario, contender }) => scenario.id === id && contender === 'noOp')
        .flatMap(({ rounds }) => rounds.map((round) => round[pick])),
    );
  return `autocannon builds a request once and overwrites only its key for each request. Against the ${NAMES.noOp},
  which is the fastest contender, it keeps a core ${percent(medianOf('fresh', 'senderLoad'))} busy, at ${readable(medianOf('fresh', 'requestsPerSecond'))} requests/s; with a request that
  never changes, as in the storm, ${percent(medianOf('storm', 'senderLoad'))} at ${readable(medianOf('storm', 'requestsPerSecond'))}. It does not limit the other contenders.`;
}
