import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as fs from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { commandPrefix, findPostgresBinaries, type Owner, type PostgresBinaries } from './binaries.js';
import { Guard } from './guard.js';

export interface EmbeddedPostgresOptions {
  /** Holds the cluster, its password and its log. Created when missing. */
  readonly directory: string;
  /** Whether commits survive a power cut. False is for tests, which it makes several times faster. */
  readonly durable: boolean;
  /** Removes the whole directory in the end, also when this process is killed. */
  readonly throwaway?: boolean;
  /** Hears that the server died and that it is back. */
  readonly log?: (message: string) => void;
}

export const USER = 'postgres';
/** Lies inside the cluster, so that one rename puts both in place and the two cannot disagree. */
export const PASSWORD_FILE = 'superuser.password';
const ATTEMPT_PREFIX = 'postgres.new-';
/** Serves root, by whom PostgreSQL refuses to be run: the user that owns nothing else, `nobody` on Linux. */
const NOBODY: Owner = { uid: 65534, gid: 65534 };

/** A start takes 0.3 s, initdb 2 s, recovery as long as it takes to read `max_wal_size`. */
export const START_TIMEOUT_MS = 60_000;
/** The state of a start stands in a file that announces no change; pg_ctl, too, looks at it time and again. */
export const LOOK_INTERVAL_MS = 25;
/** Ten times what an attempt may take: an older one is dead, even if its pid belongs to another process by now. */
const ATTEMPT_LIFETIME_MS = 600_000;
/** Enough for an error with its detail and its hint. */
const LOG_TAIL_LINES = 12;

/** The options, and what was found out about the place they name. */
export interface Site extends EmbeddedPostgresOptions {
  readonly cluster: string;
  readonly binaries: PostgresBinaries;
  readonly owner: Owner;
  /** Makes a command run as the owner. */
  readonly prefix: readonly string[];
  readonly guard: Guard;
}

/** Finds the programs, the user to run them as and the way to do so, then posts the guard. */
export async function survey(options: EmbeddedPostgresOptions): Promise<Site> {
  const binaries = findPostgresBinaries();
  const place = resolve(options.directory);
  const uid = process.geteuid?.();
  const refusal = (problem: string) =>
    new Error(
      `User id ${uid} cannot use the database in ${place}: ${problem}. Run as the user it belongs to, ` +
        'or remove the directory together with its data, or name a running server in DATABASE_URL.',
    );
  try {
    await fs.mkdir(place, { recursive: true });
    await fs.access(place, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
  } catch (error) {
    throw refusal((error as Error).message);
  }
  // One spelling for all processes, because a neighbour is recognized by it.
  const directory = await fs.realpath(place);
  const cluster = join(directory, 'postgres');
  const found: Owner | undefined = await fs.stat(cluster).catch(() => undefined);
  if (found && uid !== 0 && found.uid !== uid) throw refusal(`its files belong to user id ${found.uid}`);
  if (found?.uid === 0) throw refusal('its files belong to root, as whom PostgreSQL refuses to run');
  const owner = found ?? NOBODY;
  const prefix = commandPrefix(binaries, directory, owner);
  const guard = new Guard(cluster, options.throwaway ? directory : undefined);
  return { ...options, directory, cluster, binaries, owner, prefix, guard };
}

/** Removes what killed attempts left behind. One that is under way, here or in another process, is left alone. */
export async function removeLeftovers(directory: string): Promise<void> {
  for (const name of await fs.readdir(directory)) {
    if (!name.startsWith(ATTEMPT_PREFIX)) continue;
    const path = join(directory, name);
    const pid = Number.parseInt(name.slice(ATTEMPT_PREFIX.length), 10);
    const begun = (await fs.stat(path).catch(() => undefined))?.mtimeMs ?? 0;
    // In a container the ids start anew every time, so that a dead attempt may bear the id of this very process.
    const oldest = Date.now() - (pid === process.pid ? process.uptime() * 1000 : ATTEMPT_LIFETIME_MS);
    if (!isAlive(pid) || begun < oldest) await remove(path);
  }
}

/** Works in a directory of its own beside the cluster, so that a kill leaves nothing that looks finished. */
export async function inAttempt<T>(site: Site, work: (attempt: string) => Promise<T>): Promise<T> {
  const attempt = await fs.mkdtemp(join(site.directory, `${ATTEMPT_PREFIX}${process.pid}-`));
  try {
    return await work(attempt);
  } finally {
    await remove(attempt);
  }
}

/** Two processes may do this at once: the first rename wins, and the other one's work is dropped. */
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

/** Programs write to a file rather than to Node, so that a server never waits for a reader that is busy or dead. */
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

/** Waits for the end of a process, or as long as given. Returns whether it has ended, or could not even start. */
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

/** Tries again while a program that was killed with its attempt still adds files. */
export function remove(directory: string): Promise<void> {
  return fs.rm(directory, { recursive: true, force: true, maxRetries: 10, retryDelay: LOOK_INTERVAL_MS });
}

/** Makes new files, and directories' entries of them, survive a power cut. */
async function sync(...paths: string[]): Promise<void> {
  for (const path of paths) {
    const file = await fs.open(path);
    await file.sync().finally(() => file.close());
  }
}
