import { join } from 'node:path';
import { type Line, startLine } from './line.js';
import { PostgresNode, until } from './postgres-node.js';

/**
 * `quorum`: a COMMIT is answered when one standby has it. `asynchronous`: a COMMIT is answered when the primary has it, so a failover can lose it.
 */
export type Replication = 'quorum' | 'asynchronous';

const SYNCHRONOUS_STANDBYS: Record<Replication, string> = { quorum: 'ANY 1 (*)', asynchronous: '' };

/** Settings of every node. */
const SETTINGS = {
  // The primary keeps this much WAL for a standby that has lost its connection. 1 GB takes minutes under load.
  wal_keep_size: '1GB',
  // A standby looks for its new primary this often. The default of 5 s would only make an outage longer.
  wal_retrieve_retry_interval: '100ms',
};

/** A PostgreSQL primary with standbys behind one address, on loopback, with the binaries of the embedded PostgreSQL. */
export class PostgresCluster {
  private count = 0;
  readonly standbys: PostgresNode[] = [];

  private constructor(
    private readonly directory: string,
    public primary: PostgresNode,
    private readonly address: Line,
    /** The URL of the address. A failover moves the address to the new primary, and leaves existing connections where they are. */
    readonly url: string,
  ) {}

  /** Starts a primary with an empty database, and its standbys. `directory` exists and is empty. */
  static async start(directory: string, standbys: number, replication: Replication): Promise<PostgresCluster> {
    const primary = await PostgresNode.create('n1', join(directory, 'n1'));
    await primary.configure(SETTINGS);
    await primary.start();
    const [address, url] = [await startLine(primary.port), new URL(await primary.url())];
    url.port = String(address.port);
    const cluster = new PostgresCluster(directory, primary, address, url.href);
    cluster.count = 1;
    for (let i = 0; i < standbys; i++) await cluster.addStandby();
    // A new primary must wait for standbys from its first COMMIT on, so the setting is on every node before any of them is promoted.
    const synchronous = { synchronous_standby_names: SYNCHRONOUS_STANDBYS[replication] };
    for (const node of cluster.nodes) await node.configure(synchronous);
    await cluster.untilStreaming();
    return cluster;
  }

  get nodes(): PostgresNode[] {
    return [this.primary, ...this.standbys];
  }

  /** Starts a new standby of the primary. */
  async addStandby(): Promise<PostgresNode> {
    const name = `n${++this.count}`;
    const standby = await PostgresNode.copyOf(this.primary, name, join(this.directory, name));
    await standby.start();
    this.standbys.push(standby);
    return standby;
  }

  /** Disconnects all standbys from the primary. With a quorum, the primary answers no COMMIT from then on. */
  async cutOff(): Promise<void> {
    const running = this.standbys.filter(({ isRunning }) => isRunning);
    await Promise.all(running.map((standby) => standby.followNobody()));
  }

  /**
   * Promotes the running standby that has received most, because only this standby is certain to have everything that was acknowledged. The
   * other standbys follow it, and new connections to the address reach it. The old primary is left as it is, and no longer belongs to the
   * cluster.
   *
   * @returns the old primary
   */
  async failOver(): Promise<PostgresNode> {
    const old = this.primary;
    // An old primary that still runs could otherwise get a COMMIT confirmed by a standby that is not promoted, and the COMMIT would be lost.
    await this.cutOff();
    const received = await Promise.all(
      this.standbys.filter(({ isRunning }) => isRunning).map(async (node) => ({ node, bytes: await receivedBy(node) })),
    );
    const [first] = received.toSorted((a, b) => Number(b.bytes - a.bytes));
    if (!first) throw new Error('No standby runs');
    await first.node.promote();
    this.primary = first.node;
    this.standbys.splice(this.standbys.indexOf(first.node), 1);
    this.address.aim(this.primary.port);
    for (const standby of this.standbys) await standby.follow(this.primary);
    return old;
  }

  /**
   * Waits until every standby receives what the primary writes.
   *
   * @throws Error if this takes longer than a minute
   */
  async untilStreaming(): Promise<void> {
    const streaming = () => this.primary.sql("SELECT FROM pg_stat_replication WHERE state = 'streaming'");
    const isHealthy = async () => (await streaming()).length >= this.standbys.length;
    await until(`every standby follows ${this.primary.name}`, isHealthy);
  }

  /** Exchanges the primary and a standby without losing anything, as an operator does for a restart of a machine. */
  async switchOver(): Promise<void> {
    await this.primary.stop();
    const old = await this.failOver();
    await old.follow(this.primary);
    await old.start();
    this.standbys.push(old);
  }

  /** Kills a standby, or a primary that has been replaced, and removes its files. */
  async discard(node: PostgresNode): Promise<void> {
    await node.remove();
    const index = this.standbys.indexOf(node);
    if (index >= 0) this.standbys.splice(index, 1);
  }

  /** Kills all nodes and removes their files. Nodes that were replaced and not discarded are left to the caller. */
  async remove(): Promise<void> {
    await Promise.all([this.address.close(), ...this.nodes.map((node) => node.remove())]);
  }
}

async function receivedBy(node: PostgresNode): Promise<bigint> {
  const [row] = await node.sql<{ bytes: string }>(
    `SELECT (GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0')::bigint::text AS bytes`,
  );
  return BigInt(row?.bytes ?? 0);
}
