import { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BackOff } from '../../timing/back-off.js';
import {
  createCluster,
  type EmbeddedPostgresOptions,
  hasEnded,
  isPresent,
  LOOK_INTERVAL_MS,
  remove,
  removeLeftovers,
  type Site,
  START_TIMEOUT_MS,
  survey,
  USER,
} from './cluster.js';
import {
  DATABASE,
  end,
  findNeighbour,
  freePort,
  joinNeighbour,
  launch,
  type Lock,
  type Launched,
  readPassword,
} from './server.js';

export type { EmbeddedPostgresOptions } from './cluster.js';

/** The pause before a restart doubles each time. Most restarts succeed at once, and repeated failures must not occupy the machine. */
const RESTART_PAUSE = { shortestMs: 100, longestMs: 5_000 };

/**
 * A PostgreSQL server that belongs to this process, so that the service needs only packages that npm installs.
 *
 * The server ends when this process ends, also by `kill -9`, and it is restarted if it dies alone. Other processes on the same directory share
 * the server as long as its owner runs.
 */
export class EmbeddedPostgres {
  readonly url: string;
  /** Whether another process owns the server. {@link stop} does not end the server then. */
  readonly shared: boolean;
  private readonly stopping = new AbortController();
  private readonly supervision: Promise<void> | undefined;
  private stopped: Promise<void> | undefined;

  private constructor(
    private readonly site: Site,
    private server: ChildProcess | Lock | undefined,
    readonly port: number,
    password: string,
  ) {
    this.url = `postgres://${USER}:${password}@127.0.0.1:${port}/${DATABASE}`;
    this.shared = !(server instanceof ChildProcess);
    if (server instanceof ChildProcess) this.supervision = this.supervise(server);
  }

  /** The current process id of the server, or undefined while a dead server is being replaced. */
  get pid(): number | undefined {
    return this.server?.pid;
  }

  /**
   * Starts the server of a directory, or joins a server that already runs there. It creates the cluster if there is none.
   *
   * @throws an Error with the problem and a remedy, and with the end of PostgreSQL's log if there is one
   */
  static async start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
    const site = await survey(options);
    try {
      await removeLeftovers(site.directory);
      if (!(await isPresent(join(site.cluster, 'PG_VERSION')))) await createCluster(site);
      return await EmbeddedPostgres.startOrJoin(site);
    } catch (error) {
      if (site.throwaway) await remove(site.directory);
      site.guard.dismiss();
      throw error;
    }
  }

  private static async startOrJoin(site: Site): Promise<EmbeddedPostgres> {
    const password = await readPassword(site);
    const deadline = Date.now() + START_TIMEOUT_MS;
    let port = await freePort();
    while (Date.now() < deadline) {
      const neighbour = await findNeighbour(site);
      const launched = neighbour ? await joinNeighbour(site, neighbour) : await launch(site, port);
      switch (launched.kind) {
        case 'started':
          return new EmbeddedPostgres(site, launched.server, port, password);
        case 'joined':
          site.guard.dismiss();
          return new EmbeddedPostgres(site, launched.neighbour, launched.neighbour.port, password);
        case 'failed':
          throw new Error(`PostgreSQL did not start in ${site.cluster}:\n${launched.reason}`);
        case 'port-taken':
          port = await freePort();
          break;
        case 'cluster-taken':
          await sleep(LOOK_INTERVAL_MS);
      }
    }
    throw new Error(
      `${site.cluster} is in use by a PostgreSQL that accepts no connections; postmaster.pid in it names the process. ` +
        'End that process, or remove the file if it is empty, or name a running server in DATABASE_URL.',
    );
  }

  /** Ends the server of this process and waits for its end. Its connections are closed, and all commits are kept. */
  stop(): Promise<void> {
    this.stopped ??= this.shared ? Promise.resolve() : this.shutDown();
    return this.stopped;
  }

  private async shutDown(): Promise<void> {
    this.stopping.abort();
    if (this.server instanceof ChildProcess) await end(this.server);
    await this.supervision;
    if (this.site.throwaway) await remove(this.site.directory);
    this.site.guard.dismiss();
  }

  /** Restarts the server each time it dies, until {@link stop} is called. */
  private async supervise(server: ChildProcess): Promise<void> {
    for (;;) {
      await hasEnded(server);
      if (this.stopping.signal.aborted) return;
      this.server = undefined;
      this.site.log?.(`PostgreSQL (process ${server.pid}) died and is being restarted`);
      const successor = await this.restart();
      if (!successor) return;
      this.server = server = successor;
      this.site.log?.(`PostgreSQL (process ${server.pid}) runs again on port ${this.port}`);
    }
  }

  private async restart(): Promise<ChildProcess | undefined> {
    const { signal } = this.stopping;
    for (const backOff = new BackOff(RESTART_PAUSE); ;) {
      await backOff.pause(signal);
      if (signal.aborted) return undefined;
      const launched = await launch(this.site, this.port, signal).catch((error: unknown): Launched => ({
        kind: 'failed',
        reason: String(error),
      }));
      if (launched.kind === 'started' && !signal.aborted) return launched.server;
      if (launched.kind === 'started') await end(launched.server);
      else this.site.log?.(`PostgreSQL is not back yet: ${'reason' in launched ? launched.reason : launched.kind}`);
    }
  }
}
