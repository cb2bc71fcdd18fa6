import { type ChildProcess, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { Client } from 'pg';
import {
  hasEnded,
  inAttempt,
  isAlive,
  LOOK_INTERVAL_MS,
  PASSWORD_FILE,
  type Site,
  START_TIMEOUT_MS,
  tail,
  USER,
  withLog,
} from './cluster.js';

export const DATABASE = 'payments';
/** A fast shutdown writes at most `shared_buffers` to the disk. A server that takes longer is assumed to hang, and is killed. */
const STOP_TIMEOUT_MS = 30_000;

const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=', // No Unix sockets: a path in a deep directory exceeds the limit of about 100 characters.
  'shared_buffers=64MB', // Half of the default, and enough for the rows of a demonstration.
  'max_connections=100', // The default, and enough for several replicas with ten connections each.
  'max_wal_size=256MB', // A quarter of the default, to limit disk space and the time of a recovery.
  'timezone=UTC',
  'log_timezone=UTC',
];
/**
 * The beginning of a setting that contains the process id of the owner, which is the Node process that started the server. Other processes
 * read this id in the command line of the server.
 */
const OWNER_SETTING = 'cluster_name=owner-';
const UNSAFE_SETTINGS = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'];

/** The content of postmaster.pid. */
export interface Lock {
  readonly text: string;
  readonly pid: number;
  readonly port: number;
  readonly ready: boolean;
}

export type Launched =
  | { readonly kind: 'started'; readonly server: ChildProcess }
  | { readonly kind: 'joined'; readonly neighbour: Lock }
  | { readonly kind: 'port-taken' }
  /** A server that is starting or stopping, or the last backends of a killed server, use the cluster. This ends soon, so a retry helps. */
  | { readonly kind: 'cluster-taken' }
  | { readonly kind: 'failed'; readonly reason: string };

/** Starts a server and waits until it accepts connections. */
export function launch(site: Site, port: number, stopping?: AbortSignal): Promise<Launched> {
  return inAttempt(site, async (attempt) => {
    const log = join(attempt, 'log');
    const stale = await readLock(site);
    const settings = [
      ...SETTINGS,
      `port=${port}`,
      `${OWNER_SETTING}${process.pid}`,
      ...(site.durable ? [] : UNSAFE_SETTINGS),
    ];
    const command = [
      ...site.prefix,
      site.binaries.postgres,
      '-D',
      site.cluster,
      ...settings.flatMap((setting) => ['-c', setting]),
    ];
    // PostgreSQL refuses to start while the process that postmaster.pid names is alive. After a server was killed, a bystander (an unrelated
    // process) may have received its id. PostgreSQL ignores a process that PG_GRANDPARENT_PID names, a variable that pg_ctl sets as well.
    // PostgreSQL still checks for surviving backends.
    const bystander = stale && isAlive(stale.pid) && !(await serverCommand(site, stale.pid));
    const env = bystander ? { PG_GRANDPARENT_PID: String(stale.pid) } : {};
    const server = await withLog(log, (file) => site.guard.serve(command, file, env));
    try {
      if (await becomesUsable(site, server, port, stale, stopping)) {
        await keepLog(site, log);
        server.unref();
        return { kind: 'started', server };
      }
    } catch (error) {
      await end(server);
      throw error;
    }
    const reason = await tail(log);
    // postmaster.pid is empty for a moment while another server starts.
    if (/lock file "postmaster.pid" (already exists|is empty)|pre-existing shared memory block/.test(reason)) {
      return { kind: 'cluster-taken' };
    }
    if (reason.includes('could not create any TCP/IP sockets')) return { kind: 'port-taken' };
    await keepLog(site, log);
    return { kind: 'failed', reason };
  });
}

/**
 * Waits until the server can be used or has ended, and returns whether the server can be used. Kills the server after
 * {@link START_TIMEOUT_MS} or if `stopping` is aborted.
 */
async function becomesUsable(
  site: Site,
  server: ChildProcess,
  port: number,
  stale: Lock | undefined,
  stopping: AbortSignal | undefined,
): Promise<boolean> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!(await hasEnded(server, LOOK_INTERVAL_MS))) {
    const lock = await readLock(site);
    const ready = lock?.ready && lock.pid === server.pid && lock.text !== stale?.text;
    if (ready && (await isUsable(site, port))) return true;
    if (stopping?.aborted || Date.now() > deadline) server.kill('SIGKILL');
  }
  return false;
}

/** Keeps the log of this start, and the previous log, which may show why the previous server died. Older logs are deleted. */
async function keepLog(site: Site, log: string): Promise<void> {
  const kept = join(site.directory, 'postgres.log');
  await fs.rename(kept, `${kept}.1`).catch(() => undefined);
  await fs.rename(log, kept);
}

export async function joinNeighbour(site: Site, neighbour: Lock): Promise<Launched> {
  const usable = neighbour.ready && (await isUsable(site, neighbour.port));
  return usable ? { kind: 'joined', neighbour } : { kind: 'cluster-taken' };
}

/**
 * Returns the server that runs in the cluster, or undefined. Its `ready` is true only if the server is ready and its owner is alive. Only then can
 * this process join the server, because a server ends with its owner.
 */
export async function findNeighbour(site: Site): Promise<Lock | undefined> {
  const lock = await readLock(site);
  const command = lock && (await serverCommand(site, lock.pid));
  if (!command) return undefined;
  const owner = new RegExp(`${OWNER_SETTING}(\\d+)`).exec(command)?.[1];
  return { ...lock, ready: lock.ready && isAlive(Number(owner)) };
}

/** The command line of a process, or undefined if the process is not a server of this cluster. */
async function serverCommand(site: Site, pid: number): Promise<string | undefined> {
  const ps = () => spawnSync('ps', ['-ww', '-o', 'args=', '-p', String(pid)], { encoding: 'utf8' }).stdout;
  const command = ((await fs.readFile(`/proc/${pid}/cmdline`, 'utf8').catch(ps)) ?? '').replaceAll('\0', ' ');
  return command.includes(`-D ${site.cluster} `) ? command : undefined;
}

async function readLock(site: Site): Promise<Lock | undefined> {
  const text = await fs.readFile(join(site.cluster, 'postmaster.pid'), 'utf8').catch(() => '');
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  return pid > 0 ? { text, pid, port: Number(lines[3]), ready: lines[7]?.trim() === 'ready' } : undefined;
}

export async function readPassword(site: Site): Promise<string> {
  return fs.readFile(join(site.cluster, PASSWORD_FILE), 'utf8');
}

/**
 * Whether the server accepts connections with the password of the cluster. Also creates the database of the service if the database does not
 * exist.
 *
 * @throws Error if the password is wrong
 */
async function isUsable(site: Site, port: number): Promise<boolean> {
  const login = { user: USER, password: await readPassword(site), database: 'postgres' };
  const limits = { connectionTimeoutMillis: 5_000, query_timeout: 30_000 };
  const client = new Client({ host: '127.0.0.1', port, ssl: false, ...login, ...limits });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
    return true;
  } catch (error) {
    // 28P01 is a wrong password, which a retry cannot correct. After any other error the server may not be ready yet, so the caller retries.
    if ((error as { code?: string }).code !== '28P01') return false;
    throw new Error(`${join(site.cluster, PASSWORD_FILE)} does not hold the password of the server`, { cause: error });
  } finally {
    await client.end();
  }
}

/** Ends a server with a fast shutdown, and kills it if the shutdown takes too long. */
export async function end(server: ChildProcess): Promise<void> {
  server.ref();
  server.kill('SIGINT');
  if (!(await hasEnded(server, STOP_TIMEOUT_MS))) server.kill('SIGKILL');
  await hasEnded(server);
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
