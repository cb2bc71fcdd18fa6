// Goal: prove that each fault of the cluster lands, that quorum replication keeps what was acknowledged, and that asynchronous replication does not.
// Method: insert rows through the address of a real cluster while one fault is injected, and compare the rows that were acknowledged with the rows that exist.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import { PostgresCluster, type Replication } from '../../harness/postgres-cluster.js';
import type { Arena } from '../chaos/arena.js';
import { CLUSTER_FAULTS } from '../chaos/cluster-faults.js';
import { ObservedDatabase } from '../chaos/database-state.js';
import { Random } from '../chaos/random.js';
import { until } from '../support/waiting.js';

type Kind = keyof typeof CLUSTER_FAULTS;
const KINDS = Object.keys(CLUSTER_FAULTS) as Kind[];
/** Longer than a failover takes, so that only a connection to a lost server is given up. */
const TIMEOUTS = { connectionTimeoutMillis: 2_000, query_timeout: 5_000 };

let directory: string;
let cluster: PostgresCluster;

async function start(replication: Replication): Promise<void> {
  directory = await mkdtemp(join(tmpdir(), 'payments-cluster-faults-'));
  cluster = await PostgresCluster.start(directory, 2, replication);
  await cluster.primary.sql('CREATE TABLE kept (n int)');
}

async function end(): Promise<void> {
  await cluster.remove();
  await rm(directory, { recursive: true });
}

/** Inserts a row, and returns whether PostgreSQL has confirmed the COMMIT. */
async function inserted(client: Client, n: number): Promise<boolean> {
  return client.query('INSERT INTO kept (n) VALUES ($1)', [n]).then(
    () => true,
    () => false,
  );
}

/** Injects a fault while rows are inserted before, during and after it. Returns what landed and which acknowledged rows do not exist in the end. */
async function hitWith(kind: Kind): Promise<{ landed: string[]; acknowledged: number[]; lost: number[] }> {
  await cluster.primary.sql('TRUNCATE kept');
  const acknowledged: number[] = [];
  let [n, isOver] = [0, false];
  const insert = async () => {
    while (!isOver) {
      const client = new Client({ connectionString: cluster.url, ...TIMEOUTS });
      client.on('error', () => undefined);
      const isConnected = await client.connect().then(
        () => true,
        () => false,
      );
      while (isConnected && !isOver && (await inserted(client, ++n))) acknowledged.push(n);
      await client.end();
    }
  };
  const inserting = insert();
  await until(() => acknowledged.length > 0);
  const landed: string[] = [];
  const arena = { postgres: cluster } as Arena;
  await CLUSTER_FAULTS[kind](arena, new Random(1), (about) => landed.push(about ?? ''));
  const before = acknowledged.length;
  await until(() => acknowledged.length > before);
  isOver = true;
  await inserting;
  const rows = await cluster.primary.sql<{ n: number }>('SELECT n FROM kept');
  const kept = new Set(rows.map((row) => row.n));
  return { landed, acknowledged, lost: acknowledged.filter((each) => !kept.has(each)) };
}

// CASE fixes the order of evaluation. With AND, the statement might cancel itself.
const CANCEL_WAITS =
  "SELECT FROM pg_stat_activity WHERE CASE WHEN wait_event = 'SyncRep' THEN pg_cancel_backend(pid) END";

describe('the faults of a cluster with quorum replication', () => {
  beforeAll(() => start('quorum'));
  afterAll(end);

  it.each(KINDS)(
    'loses no acknowledged row of a cluster with quorum replication when this fault lands: %s',
    async (kind) => {
      const { landed, lost } = await hitWith(kind);
      expect(landed).toEqual([expect.any(String)]);
      expect(lost).toEqual([]);
      expect(cluster.standbys).toHaveLength(2);
    },
  );

  it('rejects a statement of the chaos run itself whose wait for a standby was cancelled', async () => {
    await cluster.cutOff();
    const inserted = new ObservedDatabase(cluster.url).query('INSERT INTO kept VALUES (0)');
    const isRejected = expect(inserted).rejects.toThrow('canceling wait for synchronous replication');
    await until(async () => (await cluster.primary.sql(CANCEL_WAITS)).length > 0);
    await isRejected;
  });
});

describe('the faults of a cluster with asynchronous replication', () => {
  beforeAll(() => start('asynchronous'));
  afterAll(end);

  it.each(['primary killed while cut off', 'primary restarted while cut off', 'primary frozen'] as const)(
    'loses acknowledged rows of a cluster with asynchronous replication when this fault lands: %s',
    async (kind) => expect((await hitWith(kind)).lost).not.toEqual([]),
  );
});
