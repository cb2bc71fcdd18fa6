import type { TreeBudget } from './budget/budget.js';
import { budgetMarkdown } from './budget/document.js';
import { chart, type Panel } from './chart.js';
import { NAMES } from './contenders/all.js';
import { libraryOf, type PeerId, PEERS } from './contenders/peers/install.js';
import type { Machine } from './machine.js';
import { neighbourMarkdown, neighbourPanels } from './neighbour/document.js';
import type { NeighbourResult } from './neighbour/results.js';
import { BUDGET, commandOf, type Options } from './options.js';
import { MOST_OTHERS } from './processor-time.js';
import { machineMarkdown, percent, readable, repeatMarkdown, resultMarkdown } from './report.js';
import { type Result, resultsOf } from './results.js';
import type { Series } from './rounds.js';
import { SCENARIOS } from './scenarios.js';
import { median } from './statistics.js';

/** The panels of `docs/benchmark.svg`. Each scenario has a scale of its own, because their numbers differ a lot. */
const benchmarkPanels = (results: readonly Result[]): Panel[] =>
  results.flatMap(({ title, rows }): Panel[] => {
    const bars = rows
      .filter(({ isCharted }) => isCharted)
      .map((row) => ({ ...row, label: row.contender, value: row.rate }));
    return bars.length === 0 ? [] : [{ kind: 'bars', title, unit: 'requests/s', bars }];
  });

/** Everything that a whole run has measured. */
export interface Measured {
  series: readonly Series[];
  neighbour: NeighbourResult;
  budget: TreeBudget;
}

/** The files that a run writes to `docs/`, by name. */
export const benchmarkFiles = (
  { series, neighbour, budget }: Measured,
  options: Options,
  machine: Machine,
): Record<string, string> => ({
  'benchmark.md': benchmarkDocument({ series, neighbour, budget }, options, machine),
  'benchmark.svg': chart('Requests per second', benchmarkPanels(resultsOf(series, options))),
  'noisy-neighbour.svg': chart('A noisy neighbour', neighbourPanels(neighbour)),
});

/** The whole text of `docs/benchmark.md`. */
function benchmarkDocument({ series, neighbour, budget }: Measured, options: Options, machine: Machine): string {
  const { rounds, seconds } = options;
  const results = resultsOf(series, options);
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
- **${NAMES.nodeIdempotency}**, **${NAMES.powertools}**, **${NAMES.expressIdempotency}**: libraries for idempotency keys, around the same function as **${NAMES.without}**, with their keys
  in Redis; see [the peers](#the-peers).
- **${NAMES.straight}**: without HTTP and framework. One process writes the rows of the service's protocol in a loop over 16
  connections: named statements, one after the other, two transactions and the bank's capture for each charge.

All contenders except the service are in [\`bench/contenders\`](../bench/contenders). **${NAMES.without}**, **${NAMES.textbook}**, **${NAMES.nodeIdempotency}** and **${NAMES.powertools}** run within the application of
the service, with the same API keys, check for card numbers, validation, log and metrics. The no-op has only the validation. Pools have 10 connections; the
textbook has 10 more, because it calls the bank while it holds a connection. The bank writes all captures that it receives in one turn of
the event loop with one statement. The charges of one group of the service arrive in one turn, and all other charges arrive one by one. In the
service, the contenders within it and **${NAMES.expressIdempotency}**, the measured process also relays its messages and adds them to the balance while it is measured.

### The peers

The peers are packages of npm for idempotency keys with a store in Redis: one for Nest, one for functions, one for Express. Each wraps the function of
**${NAMES.without}**, so that the work without the keys is the same. Their guarantees differ from those of the service: [the field](field.md) has the findings of the conformance kit. A storm
of one key is not measured for them, because they refuse duplicates of a request in flight or make a second charge.

${peersMarkdown()}

All keep the lifetimes of keys that they have by default. Redis runs as a process of its own with the settings of its own configuration file: snapshots
(\`save 3600 1 300 100 60 10000\`) and no log of each write (\`appendonly no\`), because the READMEs of the peers name no setting of Redis. So a peer does not wait
for a disk to store a key, and a crash of Redis loses the last keys. The charges, captures and messages are in PostgreSQL, as with all other contenders.

## How

- Every contender is a process of its own, on a database of its own, on one PostgreSQL with \`fsync\` on that the benchmark starts. The
  load generator, autocannon, is one more process. All run with \`node ${process.execArgv.join(' ')}\`.
- ${rounds} rounds of ${seconds} s for each contender in each scenario, after a round that does not count. Each round measures all contenders, in
  an order of its own. Numbers are medians over the rounds. A ratio is computed round by round before its median is taken, so that
  a disturbance of a whole round cancels.
- Before each measurement there is a checkpoint, so that no contender pays for the writes of another one.
- After each measurement the database is checked: every answer was a success; there are as many new charges as answers (up to the number
  of requests sent, because some are in flight at the end) and a replay has made no charge, also with a peer; each charge was captured once, announced in one message
  and, if there are keys in PostgreSQL, recorded once; each order has taken one piece. A storm must have made one charge, and each of its ${storm.toLocaleString('en')} answers must be
  the same. Otherwise the benchmark fails and writes nothing.
- The benchmark does not fail if a target is missed. Targets are printed beside the measured numbers, met or not, with the reason if they are not met.
- ${othersText()}
- ${senderText(series)} To repeat these figures: \`${commandOf('fresh', options)}\` and \`${commandOf('storm', options)}\`

## Results

${results.map(resultMarkdown).join('\n\n')}

${budgetMarkdown(budget.readings)}

${repeatMarkdown(commandOf(BUDGET, options))}

${neighbourMarkdown(neighbour, seconds)}

## The machine

${machineMarkdown(machine)}

${repeatMarkdown(`npm run bench -- --rounds ${rounds} --seconds ${seconds}`)}
`;
}

/** The peers with their versions and configurations. */
const peersMarkdown = () =>
  (Object.keys(PEERS) as PeerId[])
    .map((id) => `- **${NAMES[id]}** ${libraryOf(id).version}: ${PEERS[id].usage}`)
    .join('\n');

/** Says when a machine is too busy, and why this limit. */
const othersText = () =>
  `During each measurement the benchmark reads from \`/proc\` how much processor time the machine used, and subtracts its own processes and the threads of the
  kernel. If the rest, which other programs or other guests of the host used, is more than ${percent(MOST_OTHERS)} of the processors in the median round of a contender, no ratios are printed. A
  disturbance of one of two measurements changes their ratio by about its share, and the narrowest target is five hundredths from 1. Without \`/proc\` the benchmark cannot know how busy the machine is, so it always prints ratios.`;

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
