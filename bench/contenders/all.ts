import type { BenchDatabase, BenchServer } from '../database.js';
import type { LoadJob } from '../load.js';
import type { Job, Measurement } from '../measurement.js';
import { type OnProgress, Worker } from '../worker.js';
import { startService } from './service.js';

/** Who is measured, as the reports call them. */
export const NAMES = {
  service: 'service',
  without: 'without idempotency',
  textbook: 'textbook',
  noOp: 'no-op',
  straight: 'straight through pg (16)',
} as const;

/** Whatever a scenario says: of as many clients as a server has cores or a few times that, pgbench makes the most. */
const STRAIGHT_CONNECTIONS = 16;

export type ContenderId = keyof typeof NAMES;

const CONTENDER_IDS = Object.keys(NAMES) as ContenderId[];

export interface Contender {
  readonly id: ContenderId;
  /** Its own, migrated; undefined for who uses none. */
  readonly database: BenchDatabase | undefined;
  readonly run: (job: Job, onProgress: OnProgress) => Promise<Measurement>;
}

/** Starts every contender, each as a process of its own on a database of its own. */
export async function startContenders(server: BenchServer, load: Worker<LoadJob>): Promise<Contender[]> {
  const contenders: Contender[] = [];
  for (const id of CONTENDER_IDS) {
    const database = id === 'noOp' ? undefined : await server.createDatabase(`bench_${id.toLowerCase()}`);
    contenders.push({ id, database, run: await start(id, database?.url ?? '', load) });
  }
  return contenders;
}

async function start(id: ContenderId, databaseUrl: string, load: Worker<LoadJob>): Promise<Contender['run']> {
  const overHttp =
    ({ url }: { url: string }): Contender['run'] =>
    (job, onProgress) =>
      load.run({ ...job, url }, onProgress);
  const env = { DATABASE_URL: databaseUrl };
  switch (id) {
    case 'service':
      return overHttp(await startService(databaseUrl));
    case 'without':
      return overHttp(await Worker.start('./contenders/without-idempotency.js', env));
    case 'textbook':
      return overHttp(await Worker.start('./contenders/textbook.js', env));
    case 'noOp':
      return overHttp(await Worker.start('./contenders/no-op.js'));
    case 'straight': {
      const worker = await Worker.start<Job>('./contenders/straight-pg.js', env);
      return (job, onProgress) => worker.run({ ...job, connections: STRAIGHT_CONNECTIONS }, onProgress);
    }
  }
}
