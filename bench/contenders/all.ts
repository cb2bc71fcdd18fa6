import type { BenchDatabase, BenchServer } from '../database.js';
import type { LoadJob } from '../load.js';
import type { Job, Measurement } from '../measurement.js';
import { type OnProgress, Worker } from '../worker.js';
import { installPeer, isPeer, PEERS, type PeerId } from './peers/install.js';
import { startService } from './service.js';

/** The contenders, with their names in the reports. */
export const NAMES = {
  service: 'service',
  without: 'without idempotency',
  textbook: 'textbook',
  nodeIdempotency: '@node-idempotency/nestjs',
  powertools: 'Powertools for TypeScript',
  expressIdempotency: 'express-idempotency',
  noOp: 'no-op',
  straight: 'straight through pg (16)',
  twoProcesses: 'service, 2 processes',
  fourProcesses: 'service, 4 processes',
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

/** A contender that cannot be measured on this machine. */
export interface Absent {
  readonly id: ContenderId;
  /** The missing program or step, for the tables. */
  readonly needs: string;
}

export const isAbsent = (contender: Contender | Absent): contender is Absent => 'needs' in contender;

/** Starts contenders in the order of {@link NAMES}, each in its own process, on its own database. */
export async function startContenders(
  server: BenchServer,
  load: Worker<LoadJob>,
  wanted: ReadonlySet<ContenderId>,
): Promise<(Contender | Absent)[]> {
  const contenders: (Contender | Absent)[] = [];
  for (const id of CONTENDER_IDS.filter((one) => wanted.has(one))) {
    const prepared = isPeer(id) ? await preparePeer(server, id) : { env: {} };
    if ('needs' in prepared) {
      contenders.push({ id, needs: prepared.needs });
      continue;
    }
    const database = id === 'noOp' ? undefined : await server.createDatabase(`bench_${id.toLowerCase()}`);
    const env = { DATABASE_URL: database?.url ?? '', ...prepared.env };
    contenders.push({ id, database, ...(await start(id, env, load)) });
  }
  return contenders;
}

/** Installs a peer and starts its Redis. Returns the environment of its process, or what it needs. */
async function preparePeer(
  server: BenchServer,
  id: PeerId,
): Promise<{ env: Record<string, string> } | { needs: string }> {
  const url = await server.redisUrl(Object.keys(PEERS).indexOf(id)).catch(() => undefined);
  if (url === undefined) return { needs: 'redis-server' };
  const folder = await installPeer(id).catch(() => undefined);
  if (folder === undefined) return { needs: 'npm ci, which failed' };
  return { env: { PEER_REDIS_URL: url, PEER_FOLDER: folder } };
}

type Started = Pick<Contender, 'run' | 'output'>;
type Environment = Record<string, string> & { DATABASE_URL: string };

async function start(id: ContenderId, env: Environment, load: Worker<LoadJob>): Promise<Started> {
  const overHttp = (...servers: { url: string; output: string }[]): Started => ({
    run: (job, onProgress) => load.run({ ...job, url: servers.map(({ url }) => url) }, onProgress),
    output: () => servers.map(({ output }) => output).join('\n'),
  });
  const module = async (name: string) => overHttp(await Worker.start(`bench/contenders/${name}.js`, env));
  const replicas = async (count: number) =>
    overHttp(...(await Promise.all(Array.from({ length: count }, () => startService(env.DATABASE_URL)))));
  switch (id) {
    case 'service':
      return replicas(1);
    case 'twoProcesses':
      return replicas(2);
    case 'fourProcesses':
      return replicas(4);
    case 'without':
      return module('without-idempotency');
    case 'textbook':
      return module('textbook');
    case 'noOp':
      return module('no-op');
    case 'nodeIdempotency':
    case 'powertools':
    case 'expressIdempotency':
      return module(`peers/${PEERS[id].module}`);
    case 'straight': {
      const worker = await Worker.start<Job>('bench/contenders/straight-pg.js', env);
      return {
        run: (job, onProgress) => worker.run({ ...job, connections: STRAIGHT_CONNECTIONS }, onProgress),
        output: () => worker.output,
      };
    }
  }
}
