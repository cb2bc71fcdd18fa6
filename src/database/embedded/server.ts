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
/** A fast shutdown writes at most `shared_buffers` to the disk; one that takes this long hangs, and is killed. */
const STOP_TIMEOUT_MS = 30_000;

const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=', // The path of a socket may have about 100 characters only.
  'shared_buffers=64MB', // Half of the default: a demonstration's rows fit in it.
  'max_connections=100', // The default: enough for several instances with ten connections each.
  'max_wal_size=256MB', // A quarter of the default: bounds the disk used and the time of a recovery.
  'timezone=UTC',
  'log_timezone=UTC',
];
/** Shows the owner's process id beside each of the server's processes in `ps`. */
const OWNER_SETTING = 'cluster_name=owner-';
const UNSAFE_SETTINGS = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off'];

/** What postmaster.pid says. */
export interface Lock {
  readonly text: string;
  readonly pid: number;
  readonly port: number;
  readonly ready: boolean;
}

export type Outcome =
  | { readonly kind: 'started'; readonly server: ChildProcess }
  | { readonly kind: 'joined'; readonly neighbour: Lock }
  | { readonly kind: 'port-taken' }
  /** By a server that is not ready yet or any more, or by the last backends of a killed one; all of these pass. */
  | { readonly kind: 'cluster-taken' }
  | { readonly kind: 'failed'; readonly reason: string };

/** Starts a server and waits until it can be used. */
export function launch(site: Site, port: number, stopping?: AbortSignal): Promise<Outcome> {
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
    // A server refuses to start while the process that postmaster.pid names is alive, even where that is a bystander
    // which was given the id of a killed server. It makes an exception for the process that this variable of pg_ctl's
    // names, and looks for surviving backends nevertheless.
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
    // It is empty for a moment while another server starts.
    if (/lock file "postmaster.pid" (already exists|is empty)|pre-existing shared memory block/.test(reason)) {
      return { kind: 'cluster-taken' };
    }
    if (reason.includes('could not create any TCP/IP sockets')) return { kind: 'port-taken' };
    await keepLog(site, log);
    return { kind: 'failed', reason };
  });
}

/** Waits until the server can be used, or has ended. It is killed when it takes too long or is not wanted any more. */
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

/** Every start begins a log and keeps the one before, which may say why that server died. No more than two exist. */
async function keepLog(site: Site, log: string): Promise<void> {
  const kept = join(site.directory, 'postgres.log');
  await fs.rename(kept, `${kept}.1`).catch(() => undefined);
  await fs.rename(log, kept);
}

export async function joinNeighbour(site: Site, neighbour: Lock): Promise<Outcome> {
  const usable = neighbour.ready && (await isUsable(site, neighbour.port));
  return usable ? { kind: 'joined', neighbour } : { kind: 'cluster-taken' };
}

/** The server that runs in the cluster, if any. It can be joined when it is ready and its owner lives on. */
export async function findNeighbour(site: Site): Promise<Lock | undefined> {
  const lock = await readLock(site);
  const command = lock && (await serverCommand(site, lock.pid));
  if (!command) return undefined;
  const owner = new RegExp(`${OWNER_SETTING}(\\d+)`).exec(command)?.[1];
  return { ...lock, ready: lock.ready && isAlive(Number(owner)) };
}

/** The command line of a process, if that is a server that was told to serve the cluster. */
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

/** Whether the server accepts the cluster's password and has the service's database, which is created if missing. */
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
    // A wrong password, unlike a server that is not ready, does not get right with time.
    if ((error as { code?: string }).code !== '28P01') return false;
    throw new Error(`${join(site.cluster, PASSWORD_FILE)} does not hold the password of the server`, { cause: error });
  } finally {
    await client.end();
  }
}

/** A fast shutdown, and a kill when that takes too long. */
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
