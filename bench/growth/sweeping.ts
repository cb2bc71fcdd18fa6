import { setTimeout as pause } from 'node:timers/promises';
import { type Service, startService } from '../contenders/service.js';
import type { BenchDatabase, BenchServer } from '../database.js';
import { checkHonesty } from '../honesty.js';
import type { LoadJob } from '../load.js';
import type { Measurement } from '../measurement.js';
import { Progress } from '../../harness/progress.js';
import { type Verdict, verdict } from '../results.js';
import { sampleEvery } from '../sampling.js';
import { median } from '../statistics.js';
import type { Worker } from '../worker.js';
import { CONNECTIONS, sendFreshCharges } from './fresh-charges.js';
import { readMetrics } from './metrics.js';
import { seedKeys } from './seed.js';
import { readTable, type TableSample } from './table-health.js';

const EXPIRED_HOURS = { oldestHours: 48, youngestHours: 25 };
const SAMPLE_INTERVAL_MS = 1_000;
/** The share of the service's maximum rate. The service is busy, but a short disturbance does not build a queue. */
const MODERATE = 0.5;
/** Slices before the undisturbed ones: one warms the service up, one measures its maximum rate. */
const FIRST_SLICES = 2;
/** The first guess of the time for the service to start and for the work between slices; doubled until it is enough. */
const SLACK_MS = 4_000;
/** More than a machine needs on which anything can be measured. */
const MAX_SLACK_MS = 256_000;
/** The start of the service may take this share of the slack. */
const START_SHARE = 0.25;
/** Far longer than a million deletions take. */
const SWEEP_TIMEOUT_MS = 1_800_000;
/** Autovacuum starts once a minute, and then takes some time. */
const VACUUM_TIMEOUT_MS = 150_000;

/** The amount of work. */
export interface SweepPlan {
  expiredKeys: number;
  /** The length of one measurement at the fixed rate. Each has a p99 of its own. */
  sliceSeconds: number;
  /** The approximate number of measurements before the sweep. */
  undisturbedSlices: number;
  /** Whether to wait for autovacuum after the sweep. */
  awaitsVacuum: boolean;
}

/** Measurements before and during the sweep, and samples of the table. */
export interface Sweeping {
  expiredKeys: number;
  ratePerSecond: number;
  undisturbed: Measurement[];
  disturbed: Measurement[];
  samples: TableSample[];
  verdict: Verdict;
}

/**
 * Measures whether deleting expired keys slows charges down. One service serves a fixed rate all the time. Its own schedule starts the
 * sweep after the undisturbed slices.
 *
 * @throws Error if an answer or an effect is wrong, or if the sweep does not end
 */
export async function measureSweeping(server: BenchServer, load: Worker<LoadJob>, plan: SweepPlan): Promise<Sweeping> {
  const database = await server.createDatabase('growth_sweep');
  await seedKeys(database, { count: plan.expiredKeys, ...EXPIRED_HOURS });
  await server.checkpoint();
  const sliceMs = plan.sliceSeconds * 1000;
  const { service, sweepAtMs } = await startBeforeSweep(database, (FIRST_SLICES + plan.undisturbedSlices) * sliceMs);

  const until = { seconds: plan.sliceSeconds };
  await sendFreshCharges({ service, database, load }, { until });
  const { requestsPerSecond } = await sendFreshCharges({ service, database, load }, { until });
  const ratePerSecond = Math.max(1, Math.round(requestsPerSecond * MODERATE));

  const before = await database.effects();
  const startedAtMs = performance.now();
  const sampled = sampleEvery(SAMPLE_INTERVAL_MS, () => readTable(database, service.url, startedAtMs));
  const progress = new Progress(plan.expiredKeys);
  const slices: Measurement[] = [];
  const sendSlice = async () => {
    const keys = { kind: 'fresh', prefix: `sweep-${slices.length}` } as const;
    const show = () => progress.show(`${ratePerSecond} charges/s`);
    slices.push(await load.run({ url: service.url, connections: CONNECTIONS, keys, until, ratePerSecond }, show));
  };
  while (slices.length === 0 || Date.now() + sliceMs < sweepAtMs) await sendSlice();
  const undisturbed = [...slices];
  if (Date.now() > sweepAtMs) throw new Error('the sweep began before the undisturbed measurements ended');
  await pause(Math.max(0, sweepAtMs - Date.now()));
  const deadlineMs = sweepAtMs + SWEEP_TIMEOUT_MS;
  for (let swept = 0; swept < plan.expiredKeys;) {
    progress.show(`sweeping ${plan.expiredKeys.toLocaleString('en')} expired keys`, swept);
    await sendSlice();
    swept = (await readMetrics(service.url)).get('idempotency_swept_total') ?? 0;
    if (Date.now() > deadlineMs)
      throw new Error(`only ${swept} of ${plan.expiredKeys} expired keys were swept in time`);
  }
  progress.finish(`swept ${plan.expiredKeys.toLocaleString('en')} expired keys`, plan.expiredKeys);
  const disturbed = slices.slice(undisturbed.length);
  // The last slice is left out if there are others, because the sweep ended within it, so a part of this slice was undisturbed.
  if (disturbed.length > 1) disturbed.pop();

  await checkHonesty({ effects: 'each', keyed: true }, total(slices), database, before);
  if (plan.awaitsVacuum) await awaitVacuum(database, progress);
  const samples = await sampled();
  await service.program.end();
  const p99Ms = (some: readonly Measurement[]) => median(some.map((slice) => slice.p99Ms));
  const text = `p99 at ${ratePerSecond} charges/s: during the sweep ÷ undisturbed`;
  const ratio = verdict(text, p99Ms(disturbed) / p99Ms(undisturbed), { atMost: 1.5 });
  return { expiredKeys: plan.expiredKeys, ratePerSecond, undisturbed, disturbed, samples, verdict: ratio };
}

/**
 * Starts a service whose schedule begins a sweep once, after `undisturbedMs` and some slack. A service that starts too slowly is
 * started again with more slack, because a schedule whose second has already passed would not sweep for a year.
 *
 * @throws Error if even the largest slack is not enough
 */
async function startBeforeSweep(
  database: BenchDatabase,
  undisturbedMs: number,
): Promise<{ service: Service; sweepAtMs: number }> {
  for (let slackMs = SLACK_MS; slackMs <= MAX_SLACK_MS; slackMs *= 2) {
    const sweepAtMs = Date.now() + undisturbedMs + slackMs;
    const settings = { TZ: 'UTC', IDEMPOTENCY_SWEEP_CRON: cronAt(new Date(sweepAtMs)) };
    const service = await startService(database.url, settings);
    // The rest of the slack is for the work between slices, which takes a busy machine several times as long as a start.
    if (Date.now() + undisturbedMs + slackMs * (1 - START_SHARE) <= sweepAtMs) return { service, sweepAtMs };
    await service.program.end();
  }
  throw new Error(`the service did not start within ${MAX_SLACK_MS * START_SHARE} ms`);
}

/** A cron expression for this second in UTC, which does not occur again within a year. */
const cronAt = (time: Date) =>
  [time.getUTCSeconds(), time.getUTCMinutes(), time.getUTCHours(), time.getUTCDate(), time.getUTCMonth() + 1, '*'].join(
    ' ',
  );

/** All slices as one measurement. Counts are sums; times are those of the first slice. */
function total(slices: readonly Measurement[]): Measurement {
  return slices.reduce((sum, slice) => ({
    ...sum,
    sent: sum.sent + slice.sent,
    answered: sum.answered + slice.answered,
    refused: sum.refused + slice.refused,
    broken: sum.broken + slice.broken,
  }));
}

/** Waits until autovacuum has processed the table after the sweep, or until a timeout. */
async function awaitVacuum(database: BenchDatabase, progress: Progress): Promise<void> {
  const deadlineMs = performance.now() + VACUUM_TIMEOUT_MS;
  const sweptAt = (await database.sql<{ now: string }>('SELECT clock_timestamp()::text AS now'))[0]?.now;
  while (performance.now() < deadlineMs) {
    const [row] = await database.sql<{ isVacuumed: boolean }>(
      `SELECT coalesce(last_autovacuum > $1::timestamptz, false) AS "isVacuumed"
       FROM pg_stat_user_tables WHERE relname = 'processed_requests'`,
      [sweptAt],
    );
    if (row?.isVacuumed) return;
    progress.show('waiting for autovacuum');
    await pause(SAMPLE_INTERVAL_MS);
  }
}
