import { setTimeout as pause } from 'node:timers/promises';
import type { BenchDatabase, BenchServer } from '../database.js';
import { cpuOf, cpuOfPostgres } from './cpu.js';
import type { Reading } from './figures.js';
import type { Replica } from './tree.js';
import { readWal, walPosition } from './wal.js';

const LOOK_INTERVAL_MS = 50;
const FSYNCS = `SELECT sum(fsyncs)::float8 AS fsyncs FROM pg_stat_io WHERE object = 'wal'`;
/** Far longer than the relay or the sweep needs. */
const TIMEOUT_MS = 300_000;

/** A number of requests, and the function that sends them. */
export interface Load {
  requests: number;
  send: () => Promise<void>;
}

/**
 * Measures what a load costs one process of the service and PostgreSQL. All other processes of the service are stopped in the meantime, and no other
 * program uses PostgreSQL.
 */
export class Meter {
  private lastWorkAtMs = 0;

  private constructor(
    private readonly server: BenchServer,
    private readonly database: BenchDatabase,
    /** Process ids of the backends that serve the benchmark itself. */
    private readonly ownBackends: readonly number[],
    private readonly statisticsMs: number,
  ) {}

  /** @param statisticsMs how long PostgreSQL may take to publish its statistics */
  static async of(server: BenchServer, database: BenchDatabase, statisticsMs: number): Promise<Meter> {
    return new Meter(server, database, [await database.backendPid(), await server.backendPid()], statisticsMs);
  }

  /** Resumes a stopped process for some work, and stops it after the work. */
  async run<T>(replica: Replica, work: () => Promise<T>): Promise<T> {
    replica.resume();
    try {
      return await replica.outlives(work());
    } finally {
      await this.stop(replica);
    }
  }

  /** Stops a process as soon as its connections to PostgreSQL are idle. */
  async stop(replica: Replica): Promise<void> {
    await this.database.idleness();
    replica.stop();
    this.lastWorkAtMs = performance.now();
  }

  /**
   * Measures the cost of a load.
   *
   * @param before a load that is not measured. It opens the connections to PostgreSQL, because an idle process closes them.
   */
  async read(replica: Replica, load: Load, before?: Load): Promise<Reading> {
    await this.server.checkpoint();
    await this.statisticsPublished();
    const fsyncs = await this.fsyncs();
    if (before) await this.run(replica, before.send);
    // The process is still stopped when the first numbers are taken, because a relay or a sweeper works as soon as it is resumed. It reads the
    // command to begin when it is resumed.
    const position = await walPosition(this.database);
    const [nodeUs, postgresUs] = await this.cpu(replica);
    const begun = replica.begin();
    const [probe, nodeUsAfter, postgresUsAfter] = await this.run(replica, async () => {
      await begun;
      await load.send();
      await this.database.idleness();
      return [await replica.reading(), ...(await this.cpu(replica))] as const;
    });
    await this.statisticsPublished();
    const wal = await readWal(this.database, position, await walPosition(this.database));
    const allRequests = load.requests + (before?.requests ?? 0);
    return {
      ...{ requests: load.requests, probe, wal },
      nodeUs: nodeUsAfter - nodeUs,
      postgresUs: postgresUsAfter - postgresUs,
      // PostgreSQL has published one number for both loads, so each gets its share by its requests.
      fsyncs: ((await this.fsyncs()) - fsyncs) * (load.requests / allRequests),
    };
  }

  private async cpu(replica: Replica): Promise<[nodeUs: number, postgresUs: number]> {
    return [await cpuOf(replica.pid), await cpuOfPostgres(this.ownBackends)];
  }

  /** Waits until PostgreSQL has published the statistics of everything that was done. */
  private async statisticsPublished(): Promise<void> {
    await pause(Math.max(0, this.lastWorkAtMs + this.statisticsMs - performance.now()));
  }

  private async fsyncs(): Promise<number> {
    return (await this.database.row<{ fsyncs: number }>(FSYNCS)).fsyncs;
  }
}

/**
 * Waits until a condition holds. The service does not announce it, so it is polled.
 *
 * @throws Error if the condition does not hold in time
 */
export async function until(name: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + TIMEOUT_MS;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${name}: not within ${TIMEOUT_MS / 1000} s`);
    await pause(LOOK_INTERVAL_MS);
  }
}
