import type { Service } from '../contenders/service.js';
import type { BenchDatabase } from '../database.js';
import { checkHonesty } from '../honesty.js';
import type { LoadJob } from '../load.js';
import type { Measurement } from '../measurement.js';
import type { OnProgress, Worker } from '../worker.js';

/** What all of these measure with. */
export const CONNECTIONS = 64;

/** A service, its database, and who sends to it. */
export interface Subject {
  service: Service;
  database: BenchDatabase;
  load: Worker<LoadJob>;
}

let jobs = 0;

/**
 * Sends fresh charges to a service, and sees to it that each was made once.
 *
 * @throws Error when one was not
 */
export async function sendFreshCharges(
  { service, database, load }: Subject,
  job: Pick<LoadJob, 'until' | 'ratePerSecond'>,
  onProgress: OnProgress = () => undefined,
): Promise<Measurement> {
  const before = await database.effects();
  const keys = { kind: 'fresh', prefix: `growth-${++jobs}` } as const;
  const measured = await load.run({ ...job, keys, connections: CONNECTIONS, url: service.url }, onProgress);
  await checkHonesty({ effects: 'each', keyed: true }, measured, database, before);
  return measured;
}
