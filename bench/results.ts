import { type ContenderId, NAMES } from './contenders/all.js';
import type { Measurement } from './measurement.js';
import type { Series } from './rounds.js';
import { type Quantity, STORM_CONNECTIONS_TARGET, type Target, titleOf } from './scenarios.js';
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

/** A measured number and its target. */
export interface Verdict {
  text: string;
  value: number;
  target: string;
  met: boolean;
}

/** The result of one scenario. */
export interface Result {
  title: string;
  rows: Row[];
  verdicts: Verdict[];
}

const QUANTITIES: Record<Quantity, string> = { requestsPerSecond: 'requests/s', p50Ms: 'p50' };

/** Summarizes the rounds of each scenario as rows, and compares its ratios with their targets. */
export function resultsOf(all: readonly Series[]): Result[] {
  const scenarios = [...new Set(all.map(({ scenario }) => scenario))];
  return scenarios.map((scenario) => {
    const series = all.filter((one) => one.scenario === scenario);
    const verdicts = scenario.targets.map((target) => ratioVerdict(series, target));
    const storm = scenario.keys === 'one' && series.find(({ contender }) => contender === 'service');
    if (storm) verdicts.push(connectionsVerdict(storm.busiestConnections));
    return { title: titleOf(scenario), rows: series.map(rowOf), verdicts };
  });
}

function rowOf({ scenario, contender, rounds }: Series): Row {
  const rates = rounds.map(({ requestsPerSecond }) => requestsPerSecond);
  return {
    contender: NAMES[contender],
    isOurs: contender === 'service',
    isCharted: contender !== scenario.offTheChart,
    rate: median(rates),
    lowest: Math.min(...rates),
    highest: Math.max(...rates),
    p50Ms: median(rounds.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(rounds.map(({ p99Ms }) => p99Ms)),
  };
}

function ratioVerdict(series: Series[], { quantity, against, atLeast, atMost }: Target): Verdict {
  const of = (id: ContenderId) =>
    (series.find(({ contender }) => contender === id)?.rounds ?? []).map((round: Measurement) => round[quantity]);
  return verdict(`${QUANTITIES[quantity]}: service ÷ ${NAMES[against]}`, medianRatio(of('service'), of(against)), {
    atLeast,
    atMost,
  });
}

const connectionsVerdict = (connections: number): Verdict =>
  verdict('most database connections that requests used at once, service', connections, {
    atMost: STORM_CONNECTIONS_TARGET,
  });

/** Compares a number with its bounds. */
export function verdict(text: string, value: number, bounds: { atLeast?: number; atMost?: number }): Verdict {
  const { atLeast = -Infinity, atMost = Infinity } = bounds;
  const target = bounds.atLeast === undefined ? `≤ ${bounds.atMost}` : `≥ ${bounds.atLeast}`;
  return { text, value, target, met: value >= atLeast && value <= atMost };
}
