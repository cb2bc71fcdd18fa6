import type { BenchDatabase, BenchServer } from '../database.js';
import type { LoadJob } from '../load.js';
import type { Job, Measurement } from '../measurement.js';
import { type OnProgress, Worker } from '../worker.js';
import { startService } from './service.js';

/** The contenders, with their names in the reports. */
export const NAMES = {
  service: 'service',
  without: 'without idempotency',
  textbook: 'textbook',
  noOp: 'no-op',
  straight: 'straight through pg (16)',
} as const;

/** The same in every scenario, because PostgreSQL reaches its best rate with one to a few connections per core. */
const STRAIGHT_CONNECTIONS = 16;

export type ContenderId = keyof typeof NAMES;

const CONTENDER_IDS = Object.keys(NAMES) as ContenderId[];

export interface Contender {
  readonly id: ContenderId;
  /** The migrated database of this contender, or undefined if it uses none. */
  readonly database: BenchDatabase | undefined;
  /** Sends the load of a job, and does not judge the answers. @throws Error if a process ends or the load generator fails */
  readonly run: (job: Job, onProgress: OnProgress) => Promise<Measurement>;
  /** The end of its output, which shows its errors. */
  readonly output: () => string;
}

/** Starts every contender in its own process, on its own database. */
export async function startContenders(server: BenchServer, load: Worker<LoadJob>): Promise<Contender[]> {
  const contenders: Contender[] = [];
  for (const id of CONTENDER_IDS) {
    const database = id === 'noOp' ? undefined : await server.createDatabase(`bench_${id.toLowerCase()}`);
    contenders.push({ id, database, ...(await start(id, database?.url ?? '', load)) });
  }
  return contenders;
}

type Started = Pick<Contender, 'run' | 'output'>;

async function start(id: ContenderId, databaseUrl: string, load: Worker<LoadJob>): Promise<Started> {
  const overHttp = (server: { url: string; output: string }): Started => ({
    run: (job, onProgress) => load.run({ ...job, url: server.url }, onProgress),
    output: () => server.output,
  });
  const env = { DATABASE_URL: databaseUrl };
  switch (id) {
    case 'service':
      return overHttp(await startService(databaseUrl));
    case 'without':
      return overHttp(await Worker.start('bench/contenders/without-idempotency.js', env));
    case 'textbook':
      return overHttp(await Worker.start('bench/contenders/textbook.js', env));
    case 'noOp':
      return overHttp(await Worker.start('bench/contenders/no-op.js'));
    case 'straight': {
      const worker = await Worker.start<Job>('bench/contenders/straight-pg.js', env);
      return {
        run: (job, onProgress) => worker.run({ ...job, connections: STRAIGHT_CONNECTIONS }, onProgress),
        output: () => worker.output,
      };
    }
  }
}
