import { setTimeout as pause } from 'node:timers/promises';
import { PostgresCluster } from '../../harness/postgres-cluster.js';
import { alone, type Fault, type Landed, pauseFor } from './fault.js';
import type { Random } from './random.js';

/** The time until an operator or a program notices that the primary does not answer. */
const NOTICE_MS = { least: 50, most: 800 };
/** How long the primary goes on without its standbys. Requests that are in flight reach their COMMIT in this time. */
const CUT_MS = 700;
/** How long a primary that was restarted or replaced still serves its clients, which retry several times in this time. */
const SERVES_MS = 1_500;

/**
 * Injects a fault into a healthy cluster, and waits until the cluster is healthy again. Only one at a time is injected, because
 * a quorum of one standby survives one failure at a time.
 */
const onCluster =
  (work: (cluster: PostgresCluster, random: Random, landed: Landed) => Promise<void>): Fault =>
  async (arena, random, landed) => {
    const { postgres } = arena;
    if (!(postgres instanceof PostgresCluster)) return;
    await alone(postgres, async () => {
      await work(postgres, random, landed);
      await postgres.untilStreaming();
    });
  };

/** Replaces a primary that has ended, and starts a new standby instead of it. */
async function replace(cluster: PostgresCluster, random: Random, landed: Landed): Promise<void> {
  await pauseFor(random, NOTICE_MS);
  const old = await cluster.failOver();
  landed(`${cluster.primary.name} instead of ${old.name}`);
  await cluster.discard(old);
  await cluster.addStandby();
}

/** Faults of a cluster of PostgreSQL servers. */
export const CLUSTER_FAULTS = {
  /** Kills all processes of the primary. */
  'primary killed': onCluster(async (cluster, random, landed) => {
    await cluster.primary.kill();
    await replace(cluster, random, landed);
  }),

  /** Kills all processes of a standby, which is started again. */
  'standby killed': onCluster(async ({ standbys }, random, landed) => {
    const standby = random.pick(standbys);
    await standby.kill();
    await pauseFor(random, NOTICE_MS);
    await standby.start();
    landed(standby.name);
  }),

  /** The network breaks before the primary is killed, so no standby has the last commits of the primary. */
  'primary killed while cut off': onCluster(async (cluster, random, landed) => {
    await cluster.cutOff();
    await pause(CUT_MS);
    await cluster.primary.kill();
    await replace(cluster, random, landed);
  }),

  /** The primary is killed while its commits wait for a standby, and shows these commits after its restart. Then it is killed and replaced. */
  'primary restarted while cut off': onCluster(async (cluster, random, landed) => {
    const { primary } = cluster;
    await cluster.cutOff();
    await pause(CUT_MS);
    await primary.kill();
    await primary.start();
    await pause(SERVES_MS);
    await primary.kill();
    await replace(cluster, random, landed);
  }),

  /** The primary is frozen and replaced. When it wakes, it still has the connections of its clients, and believes that it is the primary. */
  'primary frozen': onCluster(async (cluster, random, landed) => {
    const old = cluster.primary;
    old.freeze();
    await pauseFor(random, NOTICE_MS);
    await cluster.failOver();
    old.wake();
    const [answer] = await old.sql<{ isStandby: boolean }>('SELECT pg_is_in_recovery() AS "isStandby"');
    if (answer?.isStandby === false) landed(`${old.name} and ${cluster.primary.name} at once`);
    await pause(SERVES_MS);
    await cluster.discard(old);
    await cluster.addStandby();
  }),

  /** The primary ends in an orderly way, as for an update, and a standby takes over. */
  'planned switch-over': onCluster(async (cluster, _random, landed) => {
    await cluster.switchOver();
    landed(`to ${cluster.primary.name}`);
  }),
} satisfies Record<string, Fault>;
