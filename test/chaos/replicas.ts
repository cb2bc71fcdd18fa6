import { createWriteStream, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { portToKeep } from '../../harness/free-port.js';
import { Program } from '../../harness/processes.js';
import { type Line, startLine } from '../../harness/line.js';
import { type PostgresProxy, type ProxyFault, startProxy } from '../../harness/proxy.js';
import type { Arm, Disarmed, FailPoint, StopCase } from './fail-points.js';
import { GATEWAY_TIMEOUT_MS, KEY_LIFE_MS, LEASE_MS, QUERY_TIMEOUT_MS, STATEMENT_TIMEOUT_MS } from './timing.js';

/** The accounts of a run, all on one database and one bank. */
export const ACCOUNTS = ['acct_a', 'acct_b', 'acct_c'];
export const secretOf = (account: string) => `sk_${account}`;

/** With this secret, `Courier` signs its events. */
export const WEBHOOK_SECRET = 'whsec_chaos';

/** The lease is shorter than a freeze, and background work runs all the time, so that faults meet it. All other settings are the defaults. */
export const SETTINGS = {
  API_KEYS: ACCOUNTS.map((account) => `${account}:${secretOf(account)}`).join(),
  IDEMPOTENCY_LEASE_SECONDS: String(LEASE_MS / 1000),
  IDEMPOTENCY_WAIT_MS: '3000',
  IDEMPOTENCY_SWEEP_CRON: '* * * * * *',
  GATEWAY_TIMEOUT_MS: String(GATEWAY_TIMEOUT_MS),
  GATEWAY_KEY_LIFE_SECONDS: String(KEY_LIFE_MS / 1000),
  RECOVERY_INTERVAL_MS: '200',
  RELAY_INTERVAL_MS: '100',
  MESSAGE_RETRY_MS: '100',
  STRIPE_WEBHOOK_SECRET: WEBHOOK_SECRET,
  LOG_LEVEL: 'warn',
};

/** Limits in the query of the database URL, which override those that the service sets. */
const LIMITS = `statement_timeout=${STATEMENT_TIMEOUT_MS}&query_timeout=${QUERY_TIMEOUT_MS}`;

/** On a busy machine, a start takes longer than the few seconds between two faults of the database, so most starts fail. */
const RESTART_TIMEOUT_MS = 600_000;
const RESTART_PAUSE_MS = 200;

export interface ReplicaSettings {
  /** The number of the replica, from 1. */
  number: number;
  databaseUrl: string;
  gatewayPort: number;
  /** Whether the replica uses the plain committer. */
  isPlain: boolean;
  /** The build folder of the service. */
  build: string;
  /** The directory for the log. */
  directory: string;
  /** Further settings of the service. */
  environment: Record<string, string>;
  onProxyFault: (fault: ProxyFault) => void;
}

/** One process of the service behind three proxies: one to its clients, one to the database and one to the bank. */
export class ChaosReplica {
  /** Whether a fault is being injected into this replica. No other fault chooses it then. */
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

  /** The port for its clients. */
  get clientPort(): number {
    return this.clients.port;
  }

  get runs(): boolean {
    return this.program !== undefined;
  }

  /** Starts the process until it serves, as a supervisor does. A start fails while the database is unavailable. */
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
    const program = Program.start(join(this.settings.build, 'test/chaos/replica.js'), {
      name: `replica ${this.number}`,
      env: {
        ...SETTINGS,
        ...this.settings.environment,
        PORT: String(this.port),
        DATABASE_URL: `${this.database.url}?${LIMITS}`,
        GATEWAY_URL: `http://127.0.0.1:${this.gateway.port}`,
        CHAOS_REPLICA: String(this.number),
        ...(this.settings.isPlain && { IDEMPOTENCY_GROUP_SIZE: '1' }),
      },
      // The pipe is file descriptor 4 of the replica, on which it reports fail points.
      channels: ['ipc', 'pipe'],
    });
    const { child } = program;
    for (const stream of [child.stdout, child.stderr]) stream?.pipe(this.log, { end: false });
    createInterface(child.stdio[REPORTS_FD] as Readable).on('line', (point) => this.onReach?.(point as FailPoint));
    this.program = program;
    void program.ended.then(() => this.program === program && (this.program = undefined));
    await program.served();
  }

  signal(name: NodeJS.Signals): void {
    this.program?.signal(name);
  }

  /** Waits for the end of the process. Returns its exit code, or the signal that ended it. */
  async ended(): Promise<number | string | undefined> {
    return this.program?.ended;
  }

  /**
   * Stops the process when it reaches a step.
   *
   * @param withinMs after this time the process is not stopped any more
   * @returns whether the process has reached the step
   */
  async stopAt(at: StopCase, withinMs: number): Promise<boolean> {
    const { child } = this.program ?? {};
    if (!child?.connected) return false;
    const arm = (stopCase: Arm['arm']) =>
      void (child.connected && child.send({ arm: stopCase } satisfies Arm, () => undefined));
    let disarmTimer: NodeJS.Timeout | undefined;
    const isReached = new Promise<boolean>((resolve) => {
      this.onReach = () => resolve(true);
      // The process confirms that it is disarmed, because it may reach the step before it receives the message.
      child.once('message', (_: Disarmed) => resolve(false)).once('close', () => resolve(false));
      disarmTimer = setTimeout(arm, withinMs, undefined);
    });
    arm(at);
    return isReached.finally(() => {
      clearTimeout(disarmTimer);
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
