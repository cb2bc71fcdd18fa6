import type { Panel } from '../chart.js';
import {
  markdownTable,
  metText,
  missedMarkdown,
  percent,
  readable,
  repeatMarkdown,
  terminalTable,
  verdictText,
} from '../report.js';
import type { Verdict } from '../results.js';
import { HONEST_ACCOUNTS } from './accounts.js';
import { QUIET_CONNECTIONS } from './loads.js';
import { type AttackResult, type BesideRow, type NeighbourResult, type Ratio, RATIO_AT_MOST } from './results.js';
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

const ratioText = ({ value, lowest, highest }: Ratio) =>
  readable(value) + (lowest < highest ? ` (${readable(lowest)} to ${readable(highest)})` : '');
/** The lines of some verdicts for a terminal, or the line that says why there are none. */
const verdictLines = (withoutRatios: string | undefined, ...verdicts: Verdict[]) =>
  withoutRatios === undefined ? verdicts.map(verdictText) : [`No ratios: ${withoutRatios}.`];

/** The scenario for a terminal. */
export function neighbourText({ attacks, crash, command }: NeighbourResult): string {
  const { alone, honest, attack } = crash.seconds;
  return [
    ...attacks.map((result) =>
      [
        `A noisy neighbour: ${result.attack.name}`,
        terminalTable(HEADINGS, result.rows.map(cells)),
        ...verdictLines(result.withoutRatios, result.p50, result.p99),
        '',
      ].join('\n'),
    ),
    `A noisy neighbour: ${crash.charges} unfinished charges and a crash`,
    `recovery of account B's charge: ${readable(alone)} s alone, ${readable(honest)} s beside honest load, ${readable(attack)} s beside the attack`,
    ...verdictLines(crash.withoutRatios, crash.verdict),
    `Repeat: ${command}`,
    '',
  ].join('\n');
}

const isJudged = ({ withoutRatios }: AttackResult) => withoutRatios === undefined;

/** The panels of `docs/noisy-neighbour.svg`. */
export function neighbourPanels({ attacks, crash }: NeighbourResult): Panel[] {
  const ratios = (title: string, pick: (result: AttackResult) => Ratio): Panel => ({
    kind: 'bars',
    title,
    unit: 'times',
    mark: RATIO_AT_MOST,
    bars: attacks.filter(isJudged).map((result) => ({ label: result.attack.name, isOurs: true, ...pick(result) })),
  });
  const seconds = Object.entries(crash.seconds).map(([beside, value]) => ({
    ...{ label: BESIDE_NAMES[beside as Beside], value, lowest: value, highest: value },
    isOurs: beside === 'attack',
  }));
  return [
    ratios(
      'p50 of account B: beside the attack ÷ beside as many honest requests; dashed: the target',
      ({ p50 }) => p50,
    ),
    ratios(
      'p99 of account B: beside the attack ÷ beside as many honest requests; dashed: the target',
      ({ p99 }) => p99,
    ),
    {
      kind: 'bars',
      title: `From a crash until account B's charge is recovered, beside ${crash.charges} unfinished charges`,
      unit: 's',
      bars: seconds,
    },
  ];
}

/** The section of `docs/benchmark.md`. */
export function neighbourMarkdown(
  { rounds, attacks, busiestSender, crash, command }: NeighbourResult,
  seconds: number,
): string {
  const judged = attacks.filter(isJudged).flatMap(({ p50, p99 }) => [p50, p99]);
  const verdicts = crash.withoutRatios === undefined ? [...judged, crash.verdict] : judged;
  const { alone, honest, attack } = crash.seconds;
  return `### A noisy neighbour

![Latency of account B beside each attack, as a multiple of its latency beside honest load](noisy-neighbour.svg)

Account B charges on ${QUIET_CONNECTIONS} connections with fresh keys. Each connection sends its next charge as soon as the one before is answered.
In each of ${rounds} rounds account B is measured for ${seconds} s alone, beside an attack by account A or by a client without an API key, and beside
honest load: ordinary charges of ${HONEST_ACCOUNTS.length} other accounts. Honest load has as many requests as the attack. Beside an attack of n requests a second, honest load is n
charges a second. Beside an attack on n connections, honest load is charges on n connections, but no more in the same time than the attack sent.
This bound makes the comparison stricter, because unbounded honest load on n connections would be more requests, and would slow account B more.

The service runs with its defaults and \`API_KEYS\`. One process sends account B's charges. Another process sends its neighbour's requests, and kept
a core at most ${percent(busiestSender)} busy. The benchmark waits for the answer to every request. Afterwards the database must have exactly the acknowledged charges of account B,
each captured and recorded once, and no effects except those of account B and its neighbour. Honest requests must be answered with 200, and
the requests of an attack with one of its allowed statuses. Otherwise the benchmark fails and writes nothing.

${markdownTable(
  ['beside the attack ÷ beside honest load', 'p50 of account B', 'p99 of account B', 'target', ''],
  attacks.map(({ attack: { name }, p50, p99, withoutRatios }) =>
    withoutRatios === undefined
      ? [name, ratioText(p50), ratioText(p99), p50.target, metText(p50.met && p99.met)]
      : [name, '', '', p50.target, `no ratios: ${withoutRatios}`],
  ),
)}

${[...missedMarkdown(verdicts), repeatMarkdown(command)].join('\n\n')}

${attacks.map(attackMarkdown).join('\n\n')}

#### ${crash.charges} unfinished charges and a crash

The process is killed with SIGKILL while account B's charge waits for the bank, and a new process is started on the same database. The crash leaves
${crash.charges} more charges unfinished. In the attack, these are charges of account A that the bank cannot decide. In honest load, these are charges of
${HONEST_ACCOUNTS.length} accounts that wait for the bank, as account B's charge does. The time is from the crash to the completion of account B's charge, by the database's clock. Most of this time is the lease of
the dead process. The crash is measured once.

${markdownTable(
  ['', 'alone', BESIDE_NAMES.honest, BESIDE_NAMES.attack, 'attack ÷ honest load', 'target', ''],
  [
    [
      "seconds until account B's charge is recovered",
      ...[alone, honest, attack].map(readable),
      ...(crash.withoutRatios === undefined
        ? [readable(crash.verdict.value), crash.verdict.target, metText(crash.verdict.met)]
        : ['', crash.verdict.target, `no ratio: ${crash.withoutRatios}`]),
    ],
  ],
)}`;
}

const attackMarkdown = ({ attack: { name, load }, rows }: AttackResult): string =>
  [`#### ${name}`, `${load}.`, markdownTable(HEADINGS, rows.map(cells))].join('\n\n');
