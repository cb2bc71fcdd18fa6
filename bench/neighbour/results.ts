import type { Measurement } from '../measurement.js';
import { commandOf, type Options } from '../options.js';
import type { ProcessorTime } from '../processor-time.js';
import { othersShare, reasonAgainstRatios, type Verdict, verdict } from '../results.js';
import { median, medianRatio } from '../statistics.js';
import type { Attack } from './attacks.js';
import type { CrashSeconds } from './crash.js';
import type { AttackSeries, Beside } from './rounds.js';

/** The name of this scenario for `--only`. */
export const NEIGHBOUR = 'noisy-neighbour';

/** The target: account B's latency beside an attack is at most this many times its latency beside honest load. */
export const RATIO_AT_MOST = 3;

/** Rate and latency of account B beside one load, and the answers to that load. Numbers are medians of the rounds. */
export interface BesideRow {
  beside: Beside;
  rate: number;
  p50Ms: number;
  p99Ms: number;
  /** Answers a second to the neighbour; 0 if account B is alone. */
  neighbourRate: number;
  /** Answers to the neighbour in all rounds, by status. */
  statuses: Record<number, number>;
}

/** Beside the attack ÷ beside honest load: the median of the rounds, the lowest and the highest of them. */
export interface Ratio extends Verdict {
  lowest: number;
  highest: number;
}

export interface AttackResult {
  attack: Attack;
  rows: BesideRow[];
  p50: Ratio;
  p99: Ratio;
  /** Why the ratios are not printed. */
  withoutRatios: string | undefined;
}

/** The result of the whole scenario. */
export interface NeighbourResult {
  /** The number of rounds of each attack. The crash is measured once. */
  rounds: number;
  attacks: AttackResult[];
  /** The highest load of the process that sent the neighbour's requests, from 0 to 1, over all measurements. */
  busiestSender: number;
  crash: { seconds: CrashSeconds; charges: number; verdict: Verdict; withoutRatios: string | undefined };
  /** The command that repeats every figure of this scenario. */
  command: string;
}

/** The measured crash. */
interface Crash {
  seconds: CrashSeconds;
  charges: number;
  processors?: ProcessorTime | undefined;
}

/** Summarizes the rounds of each attack as rows, and compares the ratios with their target. */
export function neighbourResult(
  series: readonly AttackSeries[],
  { seconds, charges, processors }: Crash,
  options: Options,
): NeighbourResult {
  const text = `seconds until account B's charge is recovered: beside ${charges} undecidable charges ÷ beside ${charges} ordinary ones`;
  return {
    rounds: Math.max(...series.map(({ readings }) => readings.attack.length)),
    attacks: series.map((one) => ({
      attack: one.attack,
      rows: (['alone', 'honest', 'attack'] as const).map((beside) => rowOf(one, beside)),
      p50: ratioOf(one, 'p50', 'p50Ms'),
      p99: ratioOf(one, 'p99', 'p99Ms'),
      withoutRatios: reasonAgainstRatios(othersShare(Object.values(one.readings)), options),
    })),
    busiestSender: Math.max(
      ...series
        .flatMap(({ readings }) => Object.values(readings).flat())
        .map(({ neighbour }) => neighbour?.senderLoad ?? 0),
    ),
    crash: {
      seconds,
      charges,
      verdict: {
        ...verdict(text, seconds.attack / seconds.honest, { atMost: RATIO_AT_MOST }),
        reason: `The charge was recovered ${seconds.attack.toFixed(1)} s after the crash beside the undecidable charges, ${seconds.honest.toFixed(1)} s beside the ordinary ones and ${seconds.alone.toFixed(1)} s alone.`,
      },
      withoutRatios: reasonAgainstRatios(processors?.othersShare, options),
    },
    command: commandOf(NEIGHBOUR, options),
  };
}

function rowOf({ readings }: AttackSeries, beside: Beside): BesideRow {
  const quiet = readings[beside].map((reading) => reading.quiet);
  const neighbours = readings[beside].flatMap(({ neighbour }) => neighbour ?? []);
  const statuses: Record<number, number> = {};
  for (const [status, count] of neighbours.flatMap((neighbour) => Object.entries(neighbour.statuses))) {
    statuses[Number(status)] = (statuses[Number(status)] ?? 0) + count;
  }
  return {
    beside,
    rate: median(quiet.map(({ requestsPerSecond }) => requestsPerSecond)),
    p50Ms: median(quiet.map(({ p50Ms }) => p50Ms)),
    p99Ms: median(quiet.map(({ p99Ms }) => p99Ms)),
    neighbourRate: neighbours.length > 0 ? median(neighbours.map(({ requestsPerSecond }) => requestsPerSecond)) : 0,
    statuses,
  };
}

function ratioOf({ attack, readings }: AttackSeries, name: string, pick: 'p50Ms' | 'p99Ms'): Ratio {
  const of = (beside: Beside) => readings[beside].map(({ quiet }: { quiet: Measurement }) => quiet[pick]);
  const [attacked, honest] = [of('attack'), of('honest')];
  const ratios = attacked.map((value, round) => value / (honest[round] ?? NaN));
  const text = `${name} of account B, ${attack.name}: beside the attack ÷ beside honest load`;
  return {
    ...verdict(text, medianRatio(attacked, honest), { atMost: RATIO_AT_MOST }),
    lowest: Math.min(...ratios),
    highest: Math.max(...ratios),
    reason: `The median of account B's ${name} was ${median(attacked).toFixed(1)} ms beside the attack and ${median(honest).toFixed(1)} ms beside honest load; the ratio of a round was ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}.`,
  };
}
