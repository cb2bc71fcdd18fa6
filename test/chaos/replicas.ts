import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { Program } from '../../harness/processes.js';
import { type Line, startLine } from '../../harness/line.js';
import { type PostgresProxy, type ProxyFault, startProxy } from '../../harness/proxy.js';
import type { Arm, Disarmed, FailPoint, StopCase } from './fail-points.js';
import { GATEWAY_TIMEOUT_MS, LEASE_MS, QUERY_TIMEOUT_MS, STATEMENT_TIMEOUT_MS } from './timing.js';

/** Three, on one database and one bank. */
export const ACCOUNTS = ['acct_a', 'acct_b', 'acct_c'];
export const secretOf = (account: string) => `sk_${account}`;

/** A lease shorter than any freeze, work in the background all the time, and everything else as it comes. */
const SETTINGS = {
  API_KEYS: ACCOUNTS.map((account) => `${account}:${secretOf(account)}`).join(),
  IDEMPOTENCY_LEASE_SECONDS: String(LEASE_MS / 1000),
  IDEMPOTENCY_WAIT_MS: '3000',
  IDEMPOTENCY_SWEEP_CRON: '* * * * * *',
  GATEWAY_TIMEOUT_MS: String(GATEWAY_TIMEOUT_MS),
  RECOVERY_INTERVAL_MS: '200',
  RELAY_INTERVAL_MS: '100',
  MESSAGE_RETRY_MS: '100',
  LOG_LEVEL: 'warn',
};

/** In the URL of the database, whose query overrides what the service sets. */
const LIMITS = `statement_timeout=${STATEMENT_TIMEOUT_MS}&query_timeout=${QUERY_TIMEOUT_MS}`;

/** A start takes two seconds, or ten on a machine that is five times busier than its cores. */
const START_TIMEOUT_MS = 180_000;
/** A start takes longer on a busy machine, and faults of the database, which come every few seconds, then end most of the starts. */
const RESTART_TIMEOUT_MS = 600_000;
const RESTART_PAUSE_MS = 200;

export interface ReplicaSettings {
  /** Counted from 1. */
  number: number;
  databaseUrl: string;
  gatewayPort: number;
  /** Where the built service is. */
  build: string;
  /** For what it writes. */
  directory: string;
  onProxyFault: (fault: ProxyFault) => void;
}

/** One process of the service behind three lines: to its clients, to the database, and to the bank. */
export class ChaosReplica {
  /** Whoever does something to it says so, and nobody else begins meanwhile. */
  busy = false;
  private program?: Program;
  private onReach: ((point: FailPoint) => void) | undefined;

  private constructor(
    private readonly settings: ReplicaSettings,
    private readonly port: number,
    readonly clients: Line,
    readonly database: PostgresProxy,
    readonly gateway: Line,
    private readonly log: WriteStream,
  ) {}

  static async start(settings: ReplicaSettings): Promise<ChaosReplica> {
    const port = await portToKeep();
    const lines = [startLine(port), startLine(settings.gatewayPort)] as const;
    const database = await startProxy(settings.databaseUrl, settings.onProxyFault);
    const log = createWriteStream(join(settings.directory, `replica-${settings.number}.log`), { flags: 'a' });
    const replica = new ChaosReplica(settings, port, await lines[0], database, await lines[1], log);
    await replica.startOnce();
    return replica;
  }

  get number(): number {
    return this.settings.number;
  }

  /** Where its clients find it. */
  get clientPort(): number {
    return this.clients.port;
  }

  get runs(): boolean {
    return this.program !== undefined;
  }

  /** Starts the process again until it serves, as a supervisor does: the database may be away. */
  async begin(): Promise<void> {
    for (const deadline = performance.now() + RESTART_TIMEOUT_MS; ;) {
      try {
        return await this.startOnce();
      } catch (error) {
        if (performance.now() > deadline) throw error;
        await pause(RESTART_PAUSE_MS);
      }
    }
  }

  private async startOnce(): Promise<void> {
    const child = fork(join(this.settings.build, 'test/chaos/replica.js'), {
      // Away from the project, whose .env is not for this.
      cwd: tmpdir(),
      env: {
        PATH: process.env['PATH'],
        ...SETTINGS,
        PORT: String(this.port),
        DATABASE_URL: `${this.database.url}?${LIMITS}`,
        GATEWAY_URL: `http://127.0.0.1:${this.gateway.port}`,
        CHAOS_REPLICA: String(this.number),
      },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc', 'pipe'],
    });
    const program = new Program(`replica ${this.number}`, child);
    for (const stream of [child.stdout, child.stderr]) stream?.pipe(this.log, { end: false });
    createInterface(child.stdio[REPORTS_FD] as Readable).on('line', (point) => this.onReach?.(point as FailPoint));
    this.program = program;
    void program.ended.catch(() => undefined).then(() => this.program === program && (this.program = undefined));
    await served(program);
  }

  /** Sends the process a signal. It is ours: it was started here, and its end would be known. */
  signal(name: NodeJS.Signals): void {
    this.program?.child.kill(name);
  }

  /** Waits for the end of the process. */
  async ended(): Promise<ChildProcess | undefined> {
    const program = this.program;
    await program?.ended.catch(() => undefined);
    return program?.child;
  }

  /**
   * Stops the process when it reaches a step.
   *
   * @param withinMs after which that is called off
   * @returns whether it has reached it
   */
  async stopAt(at: StopCase, withinMs: number): Promise<boolean> {
    const { child } = this.program ?? {};
    if (!child?.connected) return false;
    const tell = (arm: Arm['arm']) => void (child.connected && child.send({ arm } satisfies Arm, () => undefined));
    let calledOff: NodeJS.Timeout | undefined;
    const isReached = new Promise<boolean>((resolve) => {
      this.onReach = () => resolve(true);
      // It may get there before it hears that it need not.
      child.once('message', (_: Disarmed) => resolve(false)).once('close', () => resolve(false));
      calledOff = setTimeout(tell, withinMs, undefined);
    });
    tell(at);
    return isReached.finally(() => {
      clearTimeout(calledOff);
      child.removeAllListeners('message');
      this.onReach = undefined;
    });
  }

  async end(): Promise<void> {
    await this.program?.end();
    await Promise.all([this.clients.close(), this.gateway.close(), this.database.close()]);
    this.log.end();
  }
}

const REPORTS_FD = 4;

/** Systems give ports from 32,768 on to outgoing connections. */
const PORTS = { first: 20_000, count: 12_000 };

/** A free port that no outgoing connection takes while the process of a replica is down. */
async function portToKeep(): Promise<number> {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

function served(program: Program): Promise<void> {
  return program.expect<void>((resolve, reject) => {
    const look = () => program.output.includes('served at ') && resolve();
    program.child.stderr?.on('data', look);
    const timer = setTimeout(() => reject(`did not serve within ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
    return () => {
      clearTimeout(timer);
      program.child.stderr?.off('data', look);
    };
  });
}
