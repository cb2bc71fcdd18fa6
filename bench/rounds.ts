import { type Contender, type ContenderId, NAMES, startContenders } from './contenders/all.js';
import type { BenchServer } from './database.js';
import { checkHonesty } from './honesty.js';
import type { LoadJob } from './load.js';
import type { Job, Keys, Measurement } from './measurement.js';
import type { Options } from './options.js';
import { Progress } from '../harness/progress.js';
import { sampleEvery } from './sampling.js';
import { KNOWN_KEYS, quickScenarios, type Scenario, SCENARIOS, titleOf } from './scenarios.js';
import { type OnProgress, Worker } from './worker.js';

/** Short enough to see a connection that is busy for 50 ms, and long enough not to disturb the measurement. */
const SAMPLE_INTERVAL_MS = 50;
/** Long enough for V8 to compile all functions that are used often. */
const WARM_UP_SECONDS = 5;

/** The first requests of a connection run code that is not compiled yet. The others show that the connection keeps working. */
const QUICK_REQUESTS_OF_A_CONNECTION = 4;

/** One contender in one scenario, round by round. */
export interface Series {
  scenario: Scenario;
  contender: ContenderId;
  rounds: Measurement[];
  /** The largest number of database connections that requests used at once, over all rounds. Measured in storms only. */
  busiestConnections: number;
}

interface Entry {
  contender: Contender;
  series: Series;
}

/**
 * Measures every contender in every scenario, once a round. Each round begins with a different entry and every second round goes
 * backwards, so that no contender is always measured after the same other one.
 *
 * @throws Error if a measurement was not of honest work
 */
export async function measureRounds(server: BenchServer, { rounds, seconds, quick }: Options): Promise<Series[]> {
  const load = await Worker.start<LoadJob>('bench/load.js');
  const contenders = await startContenders(server, load);
  const entries = (quick ? quickScenarios() : SCENARIOS).flatMap((scenario): Entry[] =>
    contenders
      .filter(({ id }) => scenario.contenders.includes(id))
      .map((contender) => ({
        contender,
        series: { scenario, contender: contender.id, rounds: [], busiestConnections: 0 },
      })),
  );
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
  return entries.map(({ series }) => series);
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
): Promise<Measurement & { busiestConnections: number }> {
  const { connections, operation } = scenario;
  const keys = await keysFor(scenario, prefix, (job) => run(job, () => undefined));
  await database?.quiescence();
  const before = await database?.effects();
  const sampled =
    scenario.keys === 'one' && database && sampleEvery(SAMPLE_INTERVAL_MS, () => database.connectionsOfRequests());
  const measured = await run({ operation, keys, connections, until }, onProgress);
  const busiestConnections = sampled ? Math.max(...(await sampled())) : 0;
  const keyed = id !== 'without';
  const effects = ({ fresh: 'each', known: 'none', one: 'one' } as const)[scenario.keys];
  await checkHonesty({ operation, effects, keyed }, measured, database, before);
  return { ...measured, busiestConnections };
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
