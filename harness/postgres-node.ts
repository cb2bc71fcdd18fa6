import { type ChildProcess, execFile, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import {
  createCluster,
  hasEnded,
  LOOK_INTERVAL_MS,
  remove,
  type Site,
  survey,
  USER,
} from '../src/database/embedded/cluster.js';
import { sqlAt } from './sql.js';
import { DATABASE, end, freePort, launch, readPassword } from '../src/database/embedded/server.js';

/** Longer than a busy machine takes to answer a query or to start a server. A statement that waits for a standby on purpose needs a connection of its own. */
const TIMEOUT_MS = 60_000;

/** One PostgreSQL server of a cluster: a primary or a standby. It keeps its port after its first start. */
export class PostgresNode {
  private static readonly all = new Set<PostgresNode>();

  private server: ChildProcess | undefined;
  private settings: Record<string, string> = {};

  private constructor(
    readonly name: string,
    /** Another port is chosen if another process has taken this one before the first start. */
    public port: number,
    private readonly site: Site,
  ) {
    PostgresNode.all.add(this);
  }

  /** Kills every node. A frozen server would otherwise stay frozen after the end of this process. */
  static killAll(): void {
    PostgresNode.all.forEach((node) => node.killProcesses());
  }

  /** Creates an empty cluster in `directory`, without starting its server. */
  static async create(name: string, directory: string): Promise<PostgresNode> {
    const node = await PostgresNode.at(name, directory);
    await createCluster(node.site);
    return node;
  }

  /** Creates a standby from a copy of the files of `primary`, which goes on serving, without starting the server of the standby. */
  static async copyOf(primary: PostgresNode, name: string, directory: string): Promise<PostgresNode> {
    const node = await PostgresNode.at(name, directory);
    const { cluster } = node.site;
    await fs.mkdir(cluster, { mode: 0o700 });
    const client = await primary.connect();
    try {
      await client.query(`SELECT pg_backup_start($1, true)`, [name]);
      await copyFiles(primary.site.cluster, cluster);
      const { rows } = await client.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop(false)');
      await node.write('backup_label', rows[0]?.labelfile ?? '');
    } finally {
      await client.end();
    }
    await node.configure(primary.settings);
    await node.follow(primary);
    return node;
  }

  private static async at(name: string, directory: string): Promise<PostgresNode> {
    // Durable, because the server would otherwise not wait for its standbys.
    return new PostgresNode(name, await freePort(), await survey({ directory, durable: true, throwaway: true }));
  }

  get isRunning(): boolean {
    return this.server?.exitCode === null && this.server.signalCode === null;
  }

  async url(): Promise<string> {
    return `postgres://${USER}:${await readPassword(this.site)}@127.0.0.1:${this.port}/${DATABASE}`;
  }

  /** Starts the server and waits until it answers queries. Retries while the last processes of a killed server are still ending. */
  async start(): Promise<void> {
    await until(`${this.name} starts`, async () => {
      const launched = await launch(this.site, this.port);
      if (launched.kind === 'failed') throw new Error(`${this.name} did not start: ${launched.reason}`);
      if (launched.kind === 'port-taken' && !this.server) this.port = await freePort();
      if (launched.kind === 'started') this.server = launched.server;
      return launched.kind === 'started';
    });
  }

  /** Ends the server as an operator does, so that its standbys receive everything. */
  async stop(): Promise<void> {
    if (this.server && this.isRunning) await end(this.server);
  }

  /** Kills all processes of the server at once, as the end of its machine does. */
  async kill(): Promise<void> {
    // Without ref(), this process could end before the server has ended.
    this.server?.ref();
    this.killProcesses();
    if (this.server) await hasEnded(this.server);
  }

  /** Stops all processes of the server until {@link wake}. Its connections stay open and nothing is answered. */
  freeze(): void {
    this.signal('SIGSTOP');
  }

  wake(): void {
    this.signal('SIGCONT');
  }

  /**
   * Stops the processes that send to standbys, as if the network were cut. The receiver of a standby is not stopped instead, because
   * it would still read what its socket holds when it wakes.
   */
  async freezeSenders(): Promise<void> {
    for (const { pid } of await this.sql<{ pid: number }>('SELECT pid FROM pg_stat_replication')) {
      process.kill(pid, 'SIGSTOP');
    }
  }

  /** Makes the server a standby of `primary`, from its next start or, if it is a standby already, at once. */
  async follow(primary: PostgresNode): Promise<void> {
    const { username, password, hostname, port } = new URL(await primary.url());
    const connection = { user: username, password, host: hostname, port, application_name: this.name };
    await this.configure({
      primary_conninfo: Object.entries(connection)
        .map((pair) => pair.join('='))
        .join(' '),
    });
    await this.write('standby.signal', '');
  }

  /** Disconnects a running standby from its primary, and waits until it receives nothing any more. */
  async followNobody(): Promise<void> {
    await this.configure({ primary_conninfo: '' });
    const receivers = () => this.sql('SELECT FROM pg_stat_wal_receiver');
    await until(`${this.name} receives nothing`, async () => (await receivers()).length === 0);
  }

  /** Makes a standby a primary, and waits until it accepts writes. */
  async promote(): Promise<void> {
    const [answer] = await this.sql<{ isPromoted: boolean }>('SELECT pg_promote(true, 60) AS "isPromoted"');
    if (!answer?.isPromoted) throw new Error(`${this.name} was not promoted within 60 s`);
  }

  /** Changes settings that need no restart, and keeps them for later starts. */
  async configure(settings: Record<string, string>): Promise<void> {
    this.settings = { ...this.settings, ...settings };
    const lines = Object.entries(this.settings).map(([name, value]) => `${name} = '${value}'\n`);
    await this.write('postgresql.auto.conf', lines.join(''));
    if (this.isRunning) this.server?.kill('SIGHUP');
  }

  /** Runs one statement on a connection of its own. */
  async sql<Row extends Record<string, unknown>>(text: string, values?: unknown[]): Promise<Row[]> {
    return sqlAt(await this.url())<Row>(text, values);
  }

  /** Kills the server and removes its files. */
  async remove(): Promise<void> {
    await this.kill();
    await remove(this.site.directory);
    this.site.guard.dismiss();
    PostgresNode.all.delete(this);
  }

  private async connect(): Promise<Client> {
    const timeouts = { connectionTimeoutMillis: TIMEOUT_MS, query_timeout: TIMEOUT_MS };
    const client = new Client({ connectionString: await this.url(), ...timeouts });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  private async write(name: string, content: string): Promise<void> {
    const path = join(this.site.cluster, name);
    await fs.writeFile(path, content, { mode: 0o600 });
    if (process.geteuid?.() === 0) await fs.chown(path, this.site.owner.uid, this.site.owner.gid);
  }

  private killProcesses(): void {
    if (!this.isRunning) return;
    // A postmaster that is stopped starts no other process while its processes are being killed.
    this.server?.kill('SIGSTOP');
    this.signal('SIGKILL');
  }

  private signal(name: NodeJS.Signals): void {
    const { pid } = this.server ?? {};
    if (!pid || !this.isRunning) return;
    for (const each of [...childrenOf(pid), pid]) {
      try {
        process.kill(each, name);
      } catch {
        // A process that has ended since needs no signal.
      }
    }
  }
}

process.on('exit', () => PostgresNode.killAll());

/**
 * Polls until a condition is true, because PostgreSQL does not report the changes that callers wait for.
 *
 * @throws Error with the name of the condition if it is still false after a minute
 */
export async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + TIMEOUT_MS; !(await condition()); await pause(LOOK_INTERVAL_MS)) {
    if (performance.now() > deadline) throw new Error(`This has not happened within ${TIMEOUT_MS / 1000} s: ${what}`);
  }
}

/** Every process of PostgreSQL is a child of the postmaster, in a process group of its own. */
function childrenOf(pid: number): number[] {
  let children: string;
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
  } catch {
    children = spawnSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' }).stdout;
  }
  return children.split(/\s+/).filter(Boolean).map(Number);
}

/**
 * Copies the files of a running server. A file may change or disappear during the copy: the standby repairs such a file when it
 * replays the WAL since `pg_backup_start`. tar keeps the owner of each file.
 */
async function copyFiles(from: string, to: string): Promise<void> {
  const excluded = ['./pg_wal/*', './postmaster.pid', './postmaster.opts', './standby.signal', './backup_label'];
  const options = excluded.map((name) => `--exclude='${name}'`).join(' ');
  const copy = `tar -C "$1" ${options} -cf - . | tar -C "$2" -xpf -`;
  await promisify(execFile)('/bin/sh', ['-c', copy, 'copy', from, to]);
}
