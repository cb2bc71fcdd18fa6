import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresCluster } from '../../harness/postgres-cluster.js';
import { until } from '../support/waiting.js';

describe('The PostgreSQL cluster of the tools', () => {
  let directory: string;
  let cluster: PostgresCluster;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'payments-cluster-'));
    cluster = await PostgresCluster.start(directory, 2, 'quorum');
    await cluster.primary.sql('CREATE TABLE kept (n int)');
  });
  afterAll(async () => {
    await cluster.remove();
    expect(await readdir(directory)).toEqual([]);
    await rm(directory, { recursive: true });
  });

  const keep = (n: number) => cluster.primary.sql('INSERT INTO kept VALUES ($1)', [n]);
  const kept = async () =>
    (await cluster.primary.sql<{ n: number }>('SELECT n FROM kept ORDER BY n')).map(({ n }) => n);

  it('keeps what was committed when a standby replaces a killed primary, and the other standby follows', async () => {
    await keep(1);
    await cluster.primary.kill();
    await cluster.discard(await cluster.failOver());
    await keep(2);
    expect(await kept()).toEqual([1, 2]);
    await cluster.addStandby();
    expect(cluster.nodes.map(({ name }) => name).sort()).toEqual(['n2', 'n3', 'n4']);
  });

  it('answers no COMMIT while its senders are frozen, and loses nothing when a frozen primary wakes after a failover', async () => {
    const old = cluster.primary;
    await old.freezeSenders();
    let isAnswered = false;
    void keep(3).then(
      () => (isAnswered = true),
      () => undefined,
    );
    await until(async () => (await old.sql("SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).length === 1);
    old.freeze();
    await cluster.failOver();
    await keep(4);
    old.wake();
    expect(await kept()).toEqual([1, 2, 4]);
    expect(isAnswered).toBe(false);
    await cluster.discard(old);
  });

  it('exchanges the primary and a standby', async () => {
    const old = cluster.primary;
    await cluster.switchOver();
    await keep(5);
    expect(await kept()).toEqual([1, 2, 4, 5]);
    expect(cluster.standbys).toContain(old);
  });
});
