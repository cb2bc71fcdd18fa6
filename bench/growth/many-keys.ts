import { startService } from '../contenders/service.js';
import type { BenchServer } from '../database.js';
import type { LoadJob } from '../load.js';
import type { Options } from '../options.js';
import { Progress } from '../../harness/progress.js';
import { type Verdict, verdict } from '../results.js';
import { medianRatio } from '../statistics.js';
import type { Worker } from '../worker.js';
import { sendFreshCharges } from './fresh-charges.js';
import { seedKeys } from './seed.js';

/** Ages of the seeded keys. Keys are kept for 24 hours, so none of these keys expires within the next hour. */
const AGES_HOURS = { oldestHours: 23, youngestHours: 0 };
const WARM_UP_SECONDS = 2;

/** The rates of each round, in fresh charges per second: on a table that is empty at first, and on a table with many keys. */
export interface ManyKeys {
  recordedKeys: number;
  rates: { none: number[]; many: number[] };
  verdict: Verdict;
}

/**
 * Measures whether charges with new keys are slower if the table already has many keys. One service has a database with many keys and another
 * service has a database without keys. The two services take turns.
 */
export async function measureManyKeys(
  server: BenchServer,
  load: Worker<LoadJob>,
  recordedKeys: number,
  { rounds, seconds }: Options,
): Promise<ManyKeys> {
  const names = ['none', 'many'] as const;
  const databases = {
    none: await server.createDatabase('growth_none'),
    many: await server.createDatabase('growth_many'),
  };
  await seedKeys(databases.many, { count: recordedKeys, ...AGES_HOURS });
  const services = { none: await startService(databases.none.url), many: await startService(databases.many.url) };
  const rates: ManyKeys['rates'] = { none: [], many: [] };
  const progress = new Progress((rounds + 1) * names.length);
  for (let round = 0; round <= rounds; round++) {
    for (const name of round % 2 === 0 ? names : names.toReversed()) {
      const label = `fresh charges with ${name === 'none' ? 'no' : recordedKeys.toLocaleString('en')} recorded keys: `;
      const subject = { service: services[name], database: databases[name], load };
      const show = (rate: number) => progress.show(`${label}${Math.round(rate)} requests/s`);
      await server.checkpoint();
      const until = { seconds: round === 0 ? WARM_UP_SECONDS : seconds };
      const { requestsPerSecond } = await sendFreshCharges(subject, { until }, show);
      progress.finish(`${label}${Math.round(requestsPerSecond)} requests/s`);
      if (round > 0) rates[name].push(requestsPerSecond);
    }
  }
  await Promise.all(names.map((name) => services[name].program.end()));
  const text = `requests/s: with ${recordedKeys.toLocaleString('en')} recorded keys ÷ with none`;
  return { recordedKeys, rates, verdict: verdict(text, medianRatio(rates.many, rates.none), { atLeast: 0.9 }) };
}
