import { randomBytes } from 'node:crypto';
import { underLoad } from '../../harness/accounting.js';
import type { Load } from '../../harness/load.js';
import { parseOptions } from '../../harness/options.js';
import { runTool, startAlone } from '../../harness/processes.js';
import { runCases } from '../../harness/suite.js';
import { sqlAt } from '../../harness/sql.js';
import { Cluster } from './cluster.js';
import { type Fault, FAULTS } from './faults.js';
import type { Site } from './machine.js';

const REPLICAS = 2;
const CLIENTS = 16;
/** Requests that are acknowledged before the fault and after the failover, to be sure that the load runs. */
const REQUESTS = 200;

const ACCOUNT = { id: 'acct_a', secret: randomBytes(16).toString('hex') };

/** The lease is short, because requests that a fault has interrupted wait for its end. It is longer than the timeout of the gateway. */
const SETTINGS = {
  PORT: '0',
  API_KEYS: `${ACCOUNT.id}:${ACCOUNT.secret}`,
  IDEMPOTENCY_LEASE_SECONDS: '12',
  LOG_LEVEL: 'error',
};

/** Injects a fault under load, and waits until the cluster is whole again. */
async function survive(
  { inject, confirm, repair }: Fault,
  cluster: Cluster,
  load: Load,
  show: (step: string) => void,
): Promise<string> {
  show('the load begins');
  await load.acknowledges(REQUESTS);
  const old = await cluster.primary();
  const injectedAtMs = performance.now();
  show('waiting for the failover');
  await inject(old, cluster);
  await cluster.isReplaced(old);
  await confirm?.(old);
  show('waiting for replies');
  await load.acknowledges(REQUESTS);
  const outageSeconds = load.longestGapMs(injectedAtMs) / 1000;
  show('waiting for the return of the old primary');
  repair?.(old, cluster);
  // The load goes on, because the return of the old primary must not disturb it.
  await cluster.isWhole();
  show('comparing the replies with the database');
  return `outage ${outageSeconds.toFixed(1)} s`;
}

async function main(site: Site): Promise<number> {
  const cluster = await Cluster.start(site);
  const replica = () => startAlone('src/main.js', { ...SETTINGS, DATABASE_URL: cluster.url }).served();
  const urls = await Promise.all(Array.from({ length: REPLICAS }, replica));
  const options = { urls, accounts: [ACCOUNT], clients: CLIENTS };
  return runCases(
    FAULTS.map((fault) => ({
      name: `loses and doubles nothing if ${fault.name}`,
      run: (show) => underLoad(options, sqlAt(cluster.url), (load) => survive(fault, cluster, load, show)),
    })),
  );
}

function readSite(): Site {
  const option = { type: 'string', default: '' } as const;
  const options = { config: option, data: option, patroni: option, postgres: option, uid: option, gid: option };
  const { config, data, patroni, postgres, uid, gid } = parseOptions({ options }).values;
  return { config, data, patroni, postgresBin: postgres, owner: { uid: Number(uid), gid: Number(gid) } };
}

await runTool(() => main(readSite()));
