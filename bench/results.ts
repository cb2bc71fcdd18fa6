import { availableParallelism } from 'node:os';
import { type ContenderId, NAMES } from './contenders/all.js';
import { commandOf, type Options } from './options.js';
import { MOST_OTHERS } from './processor-time.js';
import { percent } from './report.js';
import type { Round, Series } from './rounds.js';
import { type Quantity, type Scenario, STORM_CONNECTIONS_TARGET, type Target, titleOf } from './scenarios.js';
import { median, medianRatio } from './statistics.js';

/** One row of the table. */
export interface Row {
  contender: string;
  isOurs: boolean;
  isCharted: boolean;
  /** Requests a second: the median, the slowest and the fastest round. */
  rate: number;
  lowest: number;
  highest: number;
  /** Medians of the rounds. */
  p50Ms: number;
  p99Ms: number;
}

/** A contender that was not measured, and what it needs. */
export interface AbsentRow {
  contender: string;
  needs: string;
}

/** A measured number and its target. */
export interface Verdict {
  text: string;
  value: number;
  target: string;
  met: boolean;
  /** An explanation of the number. It is printed only if the target is missed. */
  reason?: string;
}

/** The result of one scenario. */
export interface Result {
  title: string;
  note: string | undefined;
  rows: Row[];
  absent: AbsentRow[];
  verdicts: Verdict[];
  /** Why there are no verdicts, although there are targets. */
  withoutRatios: string | undefined;
  /** The command that repeats every figure of this scenario. */
  command: string;
}

const QUANTITIES: Record<Quantity, string> = { requestsPerSecond: 'requests/s', p50Ms: 'p50' };

/** Summarizes the rounds of each scenario as rows, and compares its ratios with their targets. */
export function resultsOf(all: readonly Series[], options: Options): Result[] {
  const scenarios = [...new Set(all.map(({ scenario }) => scenario))];
  return scenarios.map((scenario) => {
    const series = all.filter((one) => one.scenario === scenario);
    const present = series.filter(({ needs }) => needs === undefined);
    const withoutRatios = reasonAgainstRatios(othersShare(present.map(({ rounds }) => rounds)), options);
    return {
      title: titleOf(scenario),
      note: scenario.note,
      rows: present.map(rowOf),
      absent: series.flatMap(({ contender, needs }) =>
        needs === undefined ? [] : { contender: NAMES[contender], needs },
      ),
      verdicts: withoutRatios === undefined ? verdictsOf(scenario, present) : [],
      withoutRatios,
      command: commandOf(scenario.id, options),
    };
  });
}

/**
 * The share of the processors that other programs used, in the median round of the contender that was disturbed most. Medians ignore a disturbance of
 * a few rounds, as those of the rates do.
 *
 * @param all the rounds of each contender
 * @returns undefined if this system has no `/proc`
 */
export function othersShare(all: readonly (readonly Pick<Round, 'processors'>[])[]): number | undefined {
  const shares = all.map((rounds) => median(rounds.map(({ processors }) => processors?.othersShare ?? NaN)));
  return shares.length === 0 || shares.some(Number.isNaN) ? undefined : Math.max(...shares);
}

/**
 * Returns why ratios cannot be printed, or undefined if they can. The rates of a busy machine are printed, because they belong to one machine anyway.
 * Its ratios are not, because a reader takes a ratio for a property of the contenders.
 *
 * @param others the share of the processors that other programs used, or undefined if this system has no `/proc`
 */
export function reasonAgainstRatios(others: number | undefined, { quick }: Pick<Options, 'quick'>): string | undefined {
  if (quick) return 'a quick run measures too little';
  if (others === undefined || others <= MOST_OTHERS) return undefined;
  return `the machine was too busy: other programs used ${percent(others)} of its processors, and at most ${percent(MOST_OTHERS)} are allowed`;
}

function rowOf({ scenario, contender, rounds }: Series): Row {
  const rates = rounds.map(({ requestsPerSecond }) => requestsPerSecond);
  return {
    contender: NAMES[contender],
    isOurs: contender === 'service',
    isCharted: contender !== scenario.offTheChart && scenario.ratePerSecond === undefined,
    rate: median(rates),
    lowest: Math.min(...rates),
    highest: Math.max(...rates),
    p50Ms: median(rounds.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(rounds.map(({ p99Ms }) => p99Ms)),
  };
}

function verdictsOf({ targets, keys }: Scenario, series: readonly Series[]): Verdict[] {
  const find = (id: ContenderId) => series.find(({ contender }) => contender === id);
  const service = find('service');
  if (!service) return [];
  const verdicts = targets.flatMap((target) => {
    const against = find(target.against);
    return against ? ratioVerdict(target, service, against) : [];
  });
  return keys === 'one' ? [...verdicts, connectionsVerdict(service.busiestConnections)] : verdicts;
}

function ratioVerdict({ quantity, atLeast, atMost, extraWork }: Target, service: Series, against: Series): Verdict {
  const of = ({ rounds }: Series) => rounds.map((round) => round[quantity]);
  const text = `${QUANTITIES[quantity]}: service ÷ ${NAMES[against.contender]}`;
  const reason = [extraWork, ...processorReason(service, against)].join(' ');
  return { ...verdict(text, medianRatio(of(service), of(against)), { atLeast, atMost }), reason };
}

/** Compares the processor time of one request, because on a machine whose processors are busy the rates differ as this time does. */
function processorReason(...pair: readonly [Series, Series]): string[] {
  const used = pair.map(({ contender, rounds }) => {
    const known = rounds.flatMap(({ processors, answered }) => (processors ? { processors, answered } : []));
    if (known.length === 0) return undefined;
    const ms = median(known.map(({ processors, answered }) => (1000 * processors.ownSeconds) / answered));
    const busy = median(known.map(({ processors }) => processors.ownShare));
    return `with ${NAMES[contender]} a request took ${ms.toFixed(2)} ms of processor time and ${percent(busy)} of the ${availableParallelism()} cores were used`;
  });
  return used.includes(undefined) ? [] : [`Measured, with the database and the load generator: ${used.join('; ')}.`];
}

const connectionsVerdict = (connections: number): Verdict => ({
  ...verdict('most database connections that requests used at once, service', connections, {
    atMost: STORM_CONNECTIONS_TARGET,
  }),
  reason:
    'At least one of the samples, which are taken every 50 ms, saw more connections in a statement or a transaction.',
});

/** Compares a number with its bounds. */
export function verdict(text: string, value: number, bounds: { atLeast?: number; atMost?: number }): Verdict {
  const { atLeast = -Infinity, atMost = Infinity } = bounds;
  const target = bounds.atLeast === undefined ? `≤ ${bounds.atMost}` : `≥ ${bounds.atLeast}`;
  return { text, value, target, met: value >= atLeast && value <= atMost };
}
