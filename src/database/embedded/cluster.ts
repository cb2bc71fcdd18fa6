import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { commandPrefix, findPostgresBinaries, type Owner, type PostgresBinaries } from './binaries.js';
import { Guard } from './guard.js';

export interface EmbeddedPostgresOptions {
  /** The directory of the cluster, its password and its log. It is created if it does not exist. */
  readonly directory: string;
  /** Whether commits survive a power cut. False is for tests, which are then several times faster. */
  readonly durable: boolean;
  /** Whether to remove the directory at the end, also if this process is killed. */
  readonly throwaway?: boolean;
  /** Receives a message when the server has died and when it runs again. */
  readonly log?: (message: string) => void;
}

export const USER = 'postgres';
/** The file is inside the cluster, so that one rename installs both and the password always matches its cluster. */
export const PASSWORD_FILE = 'superuser.password';
const ATTEMPT_PREFIX = 'postgres.new-';
/** The user that runs PostgreSQL for root, because PostgreSQL refuses to run as root. On Linux this user has no special rights. */
const NOBODY: Owner = { uid: 65534, gid: 65534 };

/** A start takes 0.3 s and initdb 2 s. Crash recovery takes the time to read `max_wal_size`. */
export const START_TIMEOUT_MS = 60_000;
/** The state of a start is in a file without change notifications, so it is polled, as pg_ctl does. */
export const LOOK_INTERVAL_MS = 25;
/** Ten times the maximum time of an attempt. An older attempt is dead, even if another process now has its pid. */
const ATTEMPT_LIFETIME_MS = 600_000;
/** Enough for an error with its detail and its hint. */
const LOG_TAIL_LINES = 12;

/** The options, and the programs, user and paths for them. */
export interface Site extends EmbeddedPostgresOptions {
  readonly cluster: string;
  readonly binaries: PostgresBinaries;
  readonly owner: Owner;
  /** The arguments before a command that make it run as the owner. */
  readonly prefix: readonly string[];
  readonly guard: Guard;
}

/** Finds the programs and the user that runs them, and starts the guard. */
export async function survey(options: EmbeddedPostgresOptions): Promise<Site> {
  const binaries = findPostgresBinaries();
  const place = resolve(options.directory);
  const uid = process.geteuid?.();
  const refusal = (problem: string) =>
    new Error(
      `User id ${uid} cannot use the database in ${place}: ${problem}. Run as the user who owns its files, ` +
        'or remove the directory together with its data, or name a running server in DATABASE_URL.',
    );
  try {
    await fs.mkdir(place, { recursive: true });
    await fs.access(place, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
  } catch (error) {
    throw refusal((error as Error).message);
  }
  // All processes use the same spelling of the path, because a process recognises the server of another process by this path.
  const directory = await fs.realpath(place);
  const cluster = join(directory, 'postgres');
  const found: Owner | undefined = await fs.stat(cluster).catch(() => undefined);
  if (found && uid !== 0 && found.uid !== uid) throw refusal(`its files belong to user id ${found.uid}`);
  if (found?.uid === 0) throw refusal('its files belong to root, and PostgreSQL refuses to run as root');
  const owner = found ?? NOBODY;
  const prefix = commandPrefix(binaries, directory, owner);
  const guard = new Guard(cluster, options.throwaway ? directory : undefined);
  return { ...options, directory, cluster, binaries, owner, prefix, guard };
}

/** Removes the directories of killed attempts. Attempts that still run, in this or another process, keep theirs. */
export async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await fs.readdir(directory)) {
    if (!name.startsWith(ATTEMPT_PREFIX)) continue;
    const path = join(directory, name);
    const pid = Number.parseInt(name.slice(ATTEMPT_PREFIX.length), 10);
    const begun = (await fs.stat(path).catch(() => undefined))?.mtimeMs ?? 0;
    // Each start of a container begins with the same process ids, so a dead attempt may have the id of this process.
    const oldest = Date.now() - (pid === process.pid ? process.uptime() * 1000 : ATTEMPT_LIFETIME_MS);
    if (!isAlive(pid) || begun < oldest) await remove(path);
  }
}

/** Runs `work` in a new directory beside the cluster, so that a killed attempt does not leave a cluster that looks complete. */
export async function inAttempt<T>(site: Site, work: (attempt: string) => Promise<T>): Promise<T> {
  const attempt = await fs.mkdtemp(join(site.directory, `${ATTEMPT_PREFIX}${process.pid}-`));
  try {
    return await work(attempt);
  } finally {
    await remove(attempt);
  }
}

/** Creates the cluster. Two processes may do this at the same time: the first rename wins, and the second process drops its work. */
export function createCluster(site: Site): Promise<void> {
  return inAttempt(site, async (attempt) => {
    const [data, password, log] = [join(attempt, 'data'), join(attempt, PASSWORD_FILE), join(attempt, 'log')];
    await fs.writeFile(password, randomBytes(24).toString('hex'), { mode: 0o600 });
    if (process.geteuid?.() === 0) {
      for (const path of [attempt, password]) await fs.chown(path, site.owner.uid, site.owner.gid);
    }
    const command = [
      ...site.prefix,
      site.binaries.initdb,
      `--pgdata=${data}`,
      `--username=${USER}`,
      `--pwfile=${password}`,
      '--auth=scram-sha-256',
      '--encoding=UTF8',
      '--locale=C',
      '--no-instructions',
      ...(site.durable ? [] : ['--no-sync']),
    ];
    const initdb = await withLog(log, (file) => site.guard.run(command, file));
    if (!(await hasEnded(initdb, START_TIMEOUT_MS))) initdb.kill('SIGKILL');
    if (initdb.exitCode !== 0) throw new Error(`initdb could not create ${site.cluster}:\n${await tail(log)}`);
    await fs.rename(password, join(data, PASSWORD_FILE));
    if (site.durable) await sync(join(data, PASSWORD_FILE), data);
    await fs.rename(data, site.cluster).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
    if (site.durable) await sync(site.directory);
  });
}

/** Starts a program that writes to a file and not to Node, so that a server never waits for a reader that is busy or dead. */
export async function withLog(log: string, begin: (file: number) => ChildProcess): Promise<ChildProcess> {
  const file = await fs.open(log, 'ax', 0o600);
  try {
    return begin(file.fd);
  } finally {
    await file.close();
  }
}

export async function tail(log: string): Promise<string> {
  return (await fs.readFile(log, 'utf8')).trim().split('\n').slice(-LOG_TAIL_LINES).join('\n');
}

/** Waits for the end of a process, at most for `timeoutMs`. Returns true if the process has ended or could not be started. */
export async function hasEnded(child: ChildProcess, timeoutMs?: number): Promise<boolean> {
  const ended = () => child.exitCode !== null || child.signalCode !== null;
  if (ended()) return true;
  const signal = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  await once(child, 'exit', { signal }).catch(() => undefined);
  return ended();
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

export async function isPresent(path: string): Promise<boolean> {
  return fs.access(path).then(
    () => true,
    () => false,
  );
}

/** Removes a directory. It retries, because a killed program may still add files for a moment. */
export function remove(directory: string): Promise<void> {
  return fs.rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: LOOK_INTERVAL_MS });
}

/** Writes files and directories to the disk, so that new files survive a power cut. */
async function sync(...paths: string[]): Promise<void> {
  for (const path of paths) {
    const file = await fs.open(path);
    await file.sync().finally(() => file.close());
  }
}
