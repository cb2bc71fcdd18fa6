import type { Service } from '../contenders/service.js';
import type { BenchDatabase } from '../database.js';
import { checkHonesty } from '../honesty.js';
import type { LoadJob } from '../load.js';
import type { Measurement } from '../measurement.js';
import type { OnProgress, Worker } from '../worker.js';

/** The number of connections in all measurements of growth. */
export const CONNECTIONS = 64;

/** A service, its database and the load generator. */
export interface Subject {
  service: Service;
  database: BenchDatabase;
  load: Worker<LoadJob>;
}

let jobs = 0;

/**
 * Sends fresh charges to a service, and checks that each was made once.
 *
 * @throws Error if a charge was not made exactly once
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
