import type { Panel } from '../chart.js';
import { markdownTable, readable, terminalTable, verdictText } from '../report.js';
import { HONEST_ACCOUNTS } from './accounts.js';
import { QUIET_CONNECTIONS } from './loads.js';
import { type AttackResult, type BesideRow, type NeighbourResult, RATIO_AT_MOST } from './results.js';
import type { Beside } from './rounds.js';

const BESIDE_NAMES: Record<Beside, string> = { alone: 'alone', honest: 'honest load', attack: 'the attack' };
const HEADINGS = ['account B beside', 'charges/s', 'p50 ms', 'p99 ms', "neighbour's answers/s", 'answers'] as const;

const cells = ({ beside, rate, p50Ms, p99Ms, neighbourRate, statuses }: BesideRow) => [
  BESIDE_NAMES[beside],
  ...[rate, p50Ms, p99Ms].map(readable),
  beside === 'alone' ? '' : readable(neighbourRate),
  Object.entries(statuses)
    .map(([status, count]) => `${readable(count)} × ${status}`)
    .join(', '),
];

const metText = (...all: { met: boolean }[]) => (all.every(({ met }) => met) ? 'met' : 'not met');

/** The scenario for a terminal. */
export function neighbourText({ attacks, crash }: NeighbourResult): string {
  const { alone, honest, attack } = crash.seconds;
  return [
    ...attacks.map((result) =>
      [
        `A noisy neighbour: ${result.attack.name}`,
        terminalTable(HEADINGS, result.rows.map(cells)),
        verdictText(result.p50),
        verdictText(result.p99),
        '',
      ].join('\n'),
    ),
    `A noisy neighbour: ${crash.charges} unfinished charges and a crash`,
    `recovery of account B's charge: ${readable(alone)} s alone, ${readable(honest)} s beside honest load, ${readable(attack)} s beside the attack`,
    verdictText(crash.verdict),
    '',
  ].join('\n');
}

/** The panels of `docs/noisy-neighbour.svg`. */
export function neighbourPanels({ attacks, crash }: NeighbourResult): Panel[] {
  const ratios = (title: string, pick: (result: AttackResult) => AttackResult['p50']): Panel => ({
    kind: 'bars',
    title,
    unit: 'times',
    mark: RATIO_AT_MOST,
    bars: attacks.map((result) => ({ label: result.attack.name, isOurs: true, ...pick(result) })),
  });
  const seconds = Object.entries(crash.seconds).map(([beside, value]) => ({
    ...{ label: BESIDE_NAMES[beside as Beside], value, lowest: value, highest: value },
    isOurs: beside === 'attack',
  }));
  return [
    ratios('p50 of account B: beside the attack ÷ beside as many honest requests', ({ p50 }) => p50),
    ratios('p99 of account B: beside the attack ÷ beside as many honest requests', ({ p99 }) => p99),
    {
      kind: 'bars',
      title: `Recovery of account B's charge after a crash with ${crash.charges} undecidable charges`,
      unit: 's',
      bars: seconds,
    },
  ];
}

/** The section of `docs/benchmark.md`. */
export function neighbourMarkdown({ attacks, crash }: NeighbourResult): string {
  const { alone, honest, attack } = crash.seconds;
  return `### A noisy neighbour

![Latency of account B beside each attack, as a multiple of its latency beside honest load](noisy-neighbour.svg)

Account B charges on ${QUIET_CONNECTIONS} connections, always with fresh keys, and each connection sends its next charge as soon as the one before is
answered. In each round account B is measured alone, beside an attack by account A or by a client without an API key, and beside honest load:
ordinary charges of ${HONEST_ACCOUNTS.length} other accounts. Honest load has the same number of requests as the attack, which is read strictly: it has as many
requests in flight as the attack, and it is held to the rate at which the attack was answered, although without that bound it would be faster.

The service runs with its defaults and \`API_KEYS\`. One process sends account B's charges, and another one its neighbour's requests. The database must
have exactly the charges that account B was told of, each captured and recorded once, and no other effects than account B's and its neighbour's. All honest
requests must be answered with 200, and the attack's as its row says. Otherwise the benchmark fails and writes nothing.

${markdownTable(
  ['beside the attack ÷ beside honest load', 'p50 of account B', 'p99 of account B', 'target', ''],
  attacks.map(({ attack: { name }, p50, p99 }) => [
    name,
    readable(p50.value),
    readable(p99.value),
    p50.target,
    metText(p50, p99),
  ]),
)}

${attacks.map(attackMarkdown).join('\n\n')}

#### ${crash.charges} unfinished charges and a crash

The process is killed while account B's charge waits for the bank, and is started again. Besides, there are ${crash.charges} unfinished charges: of account A, and the bank
cannot decide them; or of ${HONEST_ACCOUNTS.length} accounts, in flight like account B's. The time is from the crash until account B's charge is complete, both by the database's
clock. It contains the lease of the dead process. It is measured once.

${markdownTable(
  ['', 'alone', BESIDE_NAMES.honest, BESIDE_NAMES.attack, 'attack ÷ honest load', 'target', ''],
  [
    [
      "seconds until account B's charge is recovered",
      ...[alone, honest, attack, crash.verdict.value].map(readable),
      crash.verdict.target,
      metText(crash.verdict),
    ],
  ],
)}`;
}

const attackMarkdown = ({ attack: { name, load }, rows }: AttackResult): string =>
  [`#### ${name}`, `${load}.`, markdownTable(HEADINGS, rows.map(cells))].join('\n\n');
