import { type Contender, type ContenderId, isAbsent, NAMES, startContenders } from './contenders/all.js';
import { isPeer } from './contenders/peers/install.js';
import type { BenchServer } from './database.js';
import { checkHonesty } from './honesty.js';
import type { LoadJob } from './load.js';
import type { Job, Keys, Measurement } from './measurement.js';
import type { Options } from './options.js';
import { type ProcessorTime, watchProcessors } from './processor-time.js';
import { Progress } from '../harness/progress.js';
import { sampleEvery } from './sampling.js';
import { KNOWN_KEYS, quickScenario, type Scenario, titleOf } from './scenarios.js';
import { type OnProgress, Worker } from './worker.js';

/** Short enough to see a connection that is busy for 50 ms, and long enough not to disturb the measurement. */
const SAMPLE_INTERVAL_MS = 50;
/** Long enough for V8 to compile all functions that are used often. */
const WARM_UP_SECONDS = 5;

/** The first requests of a connection run code that is not compiled yet. The others show that the connection keeps working. */
const QUICK_REQUESTS_OF_A_CONNECTION = 4;

/** One measurement, and the processor time of its span; undefined if this system has no `/proc`. */
export interface Round extends Measurement {
  processors?: ProcessorTime | undefined;
}

/** One contender in one scenario, round by round. */
export interface Series {
  scenario: Scenario;
  contender: ContenderId;
  /** Empty if the contender needs something that this machine does not have. */
  rounds: Round[];
  /** The missing program or step, if there is one. */
  needs?: string;
  /** The largest number of database connections that requests used at once, over all rounds. Measured in storms only. */
  busiestConnections: number;
}

interface Entry {
  contender: Contender;
  series: Series;
}

/**
 * Measures every contender of the scenarios in each of them, once a round. Each round begins with a different entry and every second round goes
 * backwards, so that no contender is always measured after the same other one.
 *
 * @throws Error if a measurement was not of honest work
 */
export async function measureRounds(
  server: BenchServer,
  { rounds, seconds, quick }: Options,
  chosen: readonly Scenario[],
): Promise<Series[]> {
  const load = await Worker.start<LoadJob>('bench/load.js');
  const wanted = new Set(chosen.flatMap(({ contenders }) => contenders));
  const contenders = await startContenders(server, load, wanted);
  const all: Series[] = [];
  const entries: Entry[] = [];
  for (const scenario of quick ? chosen.map(quickScenario) : chosen) {
    for (const contender of contenders.filter(({ id }) => scenario.contenders.includes(id))) {
      const series: Series = { scenario, contender: contender.id, rounds: [], busiestConnections: 0 };
      all.push(series);
      if (isAbsent(contender)) series.needs = contender.needs;
      else entries.push({ contender, series });
    }
  }
  // Round 0 is not counted. It warms up compilers, caches and connections.
  const firstRound = quick ? 1 : 0;
  const progress = new Progress((rounds + 1 - firstRound) * entries.length);
  for (let round = firstRound; round <= rounds; round++) {
    const turn = Math.floor((round * entries.length) / (rounds + 1));
    const order = [...entries.slice(turn), ...entries.slice(0, turn)];
    for (const { contender, series } of round % 2 === 0 ? order : order.toReversed()) {
      const { scenario } = series;
      const label = `${round === 0 ? 'warm-up' : `round ${round} of ${rounds}`}, ${titleOf(scenario)}, ${NAMES[contender.id]}: `;
      const show: OnProgress = (rate) => progress.show(label + perSecond(rate));
      await server.checkpoint();
      const until = endOf(scenario, round, { quick, seconds });
      const measured = await measure(contender, scenario, `${scenario.id}-${round}`, until, show).catch(
        (error: unknown) => {
          throw new Error(`${label}${(error as Error).message}\n${contender.output()}`, { cause: error });
        },
      );
      progress.finish(label + perSecond(measured.requestsPerSecond));
      if (round === 0) continue;
      series.rounds.push(measured);
      series.busiestConnections = Math.max(series.busiestConnections, measured.busiestConnections);
    }
  }
  return all;
}

/** Time ends a usual measurement. A number of requests ends a quick one, so that a busy machine also answers enough requests. */
function endOf(
  { requests, connections }: Scenario,
  round: number,
  { quick, seconds }: Pick<Options, 'quick' | 'seconds'>,
): Job['until'] {
  if (requests) return { requests: requests[quick || round === 0 ? 'quick' : 'usual'] };
  if (quick) return { requests: QUICK_REQUESTS_OF_A_CONNECTION * connections };
  return { seconds: round === 0 ? WARM_UP_SECONDS : seconds };
}

const perSecond = (rate: number) => `${Math.round(rate).toLocaleString('en')} requests/s`;

async function measure(
  { id, database, run }: Contender,
  scenario: Scenario,
  prefix: string,
  until: Job['until'],
  onProgress: OnProgress,
): Promise<Round & { busiestConnections: number }> {
  const { connections, operation, ratePerSecond } = scenario;
  const keys = await keysFor(scenario, prefix, (job) => run(job, () => undefined));
  await database?.quiescence();
  const before = await database?.effects();
  const sampled =
    scenario.keys === 'one' && database && sampleEvery(SAMPLE_INTERVAL_MS, () => database.connectionsOfRequests());
  const processorsUsed = await watchProcessors();
  const measured = await run({ operation, keys, connections, until, ratePerSecond }, onProgress);
  const processors = await processorsUsed();
  const busiestConnections = sampled ? Math.max(...(await sampled())) : 0;
  const replaysHaveEffects = id === 'without';
  // A peer records its keys in Redis.
  const keyed = !replaysHaveEffects && !isPeer(id);
  const effects = ({ fresh: 'each', known: 'none', one: 'one' } as const)[scenario.keys];
  await checkHonesty({ operation, effects, keyed, replaysHaveEffects }, measured, database, before);
  return { ...measured, busiestConnections, processors };
}

/** The keys of a measurement. Known keys are recorded before the measurement. */
async function keysFor(
  { keys, connections }: Scenario,
  prefix: string,
  run: (job: Job) => Promise<unknown>,
): Promise<Keys> {
  switch (keys) {
    case 'fresh':
      return { kind: 'fresh', prefix };
    case 'one':
      return { kind: 'one', key: prefix };
    case 'known':
      await run({ keys: { kind: 'fresh', prefix }, connections, until: { requests: KNOWN_KEYS } });
      return { kind: 'known', prefix, count: KNOWN_KEYS };
  }
}
