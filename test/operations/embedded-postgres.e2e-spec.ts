// Goal: prove that the embedded PostgreSQL keeps committed data and leaves no server behind, however its process ends.
// Method: start it here and in other processes on one directory, kill servers, backends and processes, and read the data.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Client } from 'pg';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { until } from '../support/waiting.js';

/** A server that another process has started or shares. */
interface Foreign {
  readonly node: ChildProcess;
  readonly url: string;
  readonly pid: number;
  readonly shared: boolean;
}

/** A program that starts or shares a server, prints one line about it, and stays alive. */
const PROGRAM = `
import { EmbeddedPostgres } from ${JSON.stringify(new URL('../../dist/src/database/embedded/embedded-postgres.js', import.meta.url))};
const { url, pid, shared } = await EmbeddedPostgres.start(JSON.parse(process.argv[1]));
console.log(JSON.stringify({ url, pid, shared }));
setInterval(() => undefined, 1_000);`;

let scratch: string;
let directory: string;
let nodes: ChildProcess[] = [];
let servers: EmbeddedPostgres[] = [];

function enterNewDirectory(): void {
  // Only the owner may enter this folder. If the tests run as root, the server runs as another user and must cope with that.
  scratch = mkdtempSync(join(tmpdir(), 'embedded-postgres-'));
  directory = join(scratch, 'data');
}

function leaveDirectory(): void {
  rmSync(scratch, { recursive: true, maxRetries: 10 });
}

async function endAll(): Promise<void> {
  for (const server of servers) await server.stop();
  for (const node of nodes) node.kill('SIGKILL');
  await until(() => !isAlive(lockedBy()));
  [servers, nodes] = [[], []];
}

async function start(
  options: { throwaway?: boolean; log?: (message: string) => void } = {},
): Promise<EmbeddedPostgres> {
  const server = await EmbeddedPostgres.start({ directory, durable: !options.throwaway, ...options });
  servers.push(server);
  return server;
}

function spawnNode(options: { throwaway?: boolean } = {}): ChildProcess {
  const argument = JSON.stringify({ directory, durable: !options.throwaway, ...options });
  const node = spawn(process.execPath, ['--input-type=module', '--eval', PROGRAM, argument], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  nodes.push(node);
  return node;
}

async function startElsewhere(options: { throwaway?: boolean } = {}): Promise<Foreign> {
  const node = spawnNode(options);
  if (!node.stdout) throw new Error('stdout is a pipe');
  const [line] = (await Promise.race([once(createInterface(node.stdout), 'line'), once(node, 'exit')])) as unknown[];
  if (typeof line !== 'string') throw new Error('The process ended before it had a database');
  return { node, ...(JSON.parse(line) as Omit<Foreign, 'node'>) };
}

async function kill(node: ChildProcess): Promise<void> {
  node.kill('SIGKILL');
  await once(node, 'exit');
}

async function query<Row>(url: string, sql: string): Promise<Row[]> {
  const client = new Client(url);
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query(sql)).rows as Row[];
  } finally {
    await client.end();
  }
}

/** Commits an entry to the table `ledger`. */
const write = (url: string, entry: string) =>
  query(url, `CREATE TABLE IF NOT EXISTS ledger (entry text); INSERT INTO ledger VALUES ('${entry}')`);

const entries = async (url: string) =>
  (await query<{ entry: string }>(url, 'SELECT entry FROM ledger')).map(({ entry }) => entry);

const answers = (url: string) =>
  query(url, 'SELECT').then(
    () => true,
    () => false,
  );

const isAlive = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

const lockFile = () => join(directory, 'postgres', 'postmaster.pid');

/** The process that postmaster.pid names, or NaN if there is no such file. */
const lockedBy = () => {
  try {
    return Number.parseInt(readFileSync(lockFile(), 'utf8'), 10);
  } catch {
    return Number.NaN;
  }
};

const attempts = () => readdirSync(directory).filter((name) => name.startsWith('postgres.new-'));

async function expectOneOwner(): Promise<void> {
  const all = await Promise.all([startElsewhere(), startElsewhere(), startElsewhere()]);
  expect(all.filter(({ shared }) => !shared)).toHaveLength(1);
  expect(new Set(all.map(({ url }) => url)).size).toBe(1);
  for (const { url } of all) expect(await answers(url)).toBe(true);
  expect(attempts()).toEqual([]);
}

describe('an embedded PostgreSQL', () => {
  beforeAll(enterNewDirectory);
  afterEach(endAll);
  afterAll(leaveDirectory);

  it('keeps its data across a restart, and requires its password', async () => {
    const first = await start();
    await write(first.url, 'before the restart');
    await first.stop();
    expect(await answers(first.url)).toBe(false);

    const second = await start();
    expect(second.url).toMatch(/^postgres:\/\/postgres:\w{48}@127\.0\.0\.1:\d+\/payments$/);
    expect(await entries(second.url)).toContain('before the restart');
    await expect(query(second.url.replace(/:\w{48}@/, ':guess@'), 'SELECT')).rejects.toThrow('password authentication');
    expect(statSync(join(directory, 'postgres', 'superuser.password')).mode & 0o777).toBe(0o600);
    expect(attempts()).toEqual([]);
  });

  it('stops the server when its process ends, even by kill -9', async () => {
    const killed = await startElsewhere();
    expect(lockedBy()).toBe(killed.pid);
    await kill(killed.node);
    await until(() => !existsSync(lockFile()));
    expect(await answers(killed.url)).toBe(false);
    expect(readFileSync(join(directory, 'postgres.log'), 'utf8')).toContain('received fast shutdown request');
  });

  it('starts right after its process was killed, with all committed data', async () => {
    const killed = await startElsewhere();
    await write(killed.url, 'before its death');
    await kill(killed.node);
    const next = await start();
    expect(next.shared).toBe(false);
    expect(await entries(next.url)).toContain('before its death');
  });

  it('starts after server and process were killed together, once the last backend has ended', async () => {
    const killed = await startElsewhere();
    await write(killed.url, 'before both deaths');
    const checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    const backend = (await query<{ pid: number }>(killed.url, checkpointer))[0]?.pid ?? Number.NaN;
    process.kill(backend, 'SIGSTOP');
    process.kill(killed.pid, 'SIGKILL');
    await kill(killed.node);

    const next = start();
    await until(() => attempts().length > 0);
    await until(() => attempts().length === 0).finally(() => process.kill(backend, 'SIGCONT'));
    expect(await entries((await next).url)).toContain('before both deaths');
  });

  it('restarts a killed server on the same port, repeatedly', async () => {
    const messages: string[] = [];
    const server = await start({ log: (message) => messages.push(message) });
    for (const deaths of [1, 2]) {
      await write(server.url, `before death ${deaths}`);
      const victim = lockedBy();
      expect(server.pid).toBe(victim);
      process.kill(victim, 'SIGKILL');
      const returns = () => messages.filter((message) => message.includes(`runs again on port ${server.port}`));
      await until(() => returns().length === deaths);
      expect(server.pid).not.toBe(victim);
      expect(await entries(server.url)).toContain(`before death ${deaths}`);
    }
  });

  it('can be stopped while it restarts a killed server', async () => {
    let stopped: Promise<void> | undefined;
    const server = await start({ log: () => void (stopped ??= server.stop()) });
    process.kill(lockedBy(), 'SIGKILL');
    await until(() => stopped !== undefined);
    await stopped;
    expect(await answers(server.url)).toBe(false);
  });

  it('starts although postmaster.pid names a living process that is not a server', async () => {
    await (await start()).stop();
    const { uid, gid } = statSync(join(directory, 'postgres'));
    const bystander = spawn('sleep', ['60'], process.geteuid?.() === 0 ? { uid, gid } : {});
    nodes.push(bystander);
    const lines = [bystander.pid, join(directory, 'postgres'), 1_700_000_000, 5432, '', '127.0.0.1', '0 0', 'ready'];
    writeFileSync(lockFile(), lines.join('\n'));

    const server = await start();
    expect(server.shared).toBe(false);
    expect(await answers(server.url)).toBe(true);
    expect(bystander.signalCode).toBeNull();
  });

  it('waits for another server that has created postmaster.pid but not written it yet', async () => {
    await (await start()).stop();
    writeFileSync(lockFile(), '');
    const server = start();
    await until(() => attempts().length > 0);
    await until(() => attempts().length === 0).finally(() => rmSync(lockFile()));
    expect(await answers((await server).url)).toBe(true);
  });

  it('shares its server with a second process, which leaves the server running', async () => {
    const owner = await startElsewhere();
    const guest = await start();
    expect(guest).toMatchObject({ shared: true, url: owner.url, pid: owner.pid });
    await guest.stop();
    expect(await answers(owner.url)).toBe(true);
  });

  it('has one owner when three processes start on one existing cluster at once', expectOneOwner);
});

describe('an embedded PostgreSQL on an empty directory', () => {
  beforeEach(enterNewDirectory);
  afterEach(() => endAll().finally(leaveDirectory));

  it('has one owner when three processes create a cluster at once', expectOneOwner);

  it('removes a throwaway cluster when stopped', async () => {
    const server = await start({ throwaway: true });
    expect(await answers(server.url)).toBe(true);
    await server.stop();
    expect(readdirSync(scratch)).toEqual([]);
  });

  it('removes a throwaway cluster when its process is killed', async () => {
    const { node, url } = await startElsewhere({ throwaway: true });
    await kill(node);
    await until(() => !existsSync(directory));
    expect(await answers(url)).toBe(false);
  });

  it.each([false, true])('leaves no partial cluster when killed within initdb (throwaway: %s)', async (throwaway) => {
    const node = spawnNode({ throwaway });
    const isUnderWay = (name: string) => existsSync(join(directory, name, 'data', 'base'));
    await until(() => existsSync(directory) && attempts().some(isUnderWay));
    await kill(node);
    if (throwaway) await until(() => !existsSync(directory));
    else expect(readdirSync(directory)).not.toContain('postgres');

    const server = await start();
    expect(await answers(server.url)).toBe(true);
    expect(attempts()).toEqual([]);
  });
});
