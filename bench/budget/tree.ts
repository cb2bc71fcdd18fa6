import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expected } from '../../harness/options.js';
import { Program } from '../../harness/processes.js';
import type { ProbeCommand, ProbeReading, ProbeReport } from './probe.js';

const PROBE = new URL('probe.js', import.meta.url).href;
const MAIN = 'dist/src/main.js';

/** A checkout of this project that has been built. */
export interface Tree {
  name: string;
  /** The module that starts the service. */
  main: string;
}

/** The tree that this benchmark belongs to. */
export const THIS_TREE: Tree = {
  name: 'this tree',
  main: fileURLToPath(new URL('../../src/main.js', import.meta.url)),
};

/** @throws UsageError if the folder contains no built service */
export function otherTree(folder: string): Tree {
  const main = resolve(join(folder, MAIN));
  expected('--against', folder, existsSync(main), `a checkout with a build, but ${main} is missing`);
  return { name: folder, main };
}

/** Nothing runs in the background, because the share of each request in the background work depends on the rate of the requests. */
const QUIET = {
  LOG_LEVEL: 'warn',
  PORT: '0',
  RELAY_INTERVAL_MS: '3600000',
  RECOVERY_INTERVAL_MS: '3600000',
  IDEMPOTENCY_SWEEP_CRON: '0 0 1 1 *',
};

/** One process of the service, with the probe in it. It can be stopped, so that it does nothing while another process is measured. */
export class Replica {
  private constructor(
    private readonly program: Program,
    readonly url: string,
  ) {}

  /** @param settings the settings of a process that does more than serve requests */
  static async start(tree: Tree, databaseUrl: string, settings: Record<string, string> = {}): Promise<Replica> {
    const program = Program.start(tree.main, {
      name: `the service of ${tree.name}`,
      execArgv: [...process.execArgv, '--import', PROBE],
      env: { DATABASE_URL: databaseUrl, ...QUIET, ...settings },
      channels: ['ipc'],
    });
    return new Replica(program, await program.served());
  }

  get pid(): number {
    return this.program.pid;
  }

  stop(): void {
    this.program.signal('SIGSTOP');
  }

  resume(): void {
    this.program.signal('SIGCONT');
  }

  end(): Promise<void> {
    return this.program.end();
  }

  /** Begins to count. */
  begin(): Promise<true> {
    return this.ask('begin', (report) => (report.kind === 'begun' ? true : undefined));
  }

  /** @returns the counts since {@link begin} */
  reading(): Promise<ProbeReading> {
    return this.ask('end', (report) => (report.kind === 'ended' ? report.reading : undefined));
  }

  /** Waits for some work. @throws Error with the output of the process, if the work fails or the process ends first */
  outlives<T>(work: Promise<T>): Promise<T> {
    return this.program.expect<T>((resolve, reject) => {
      work.then(resolve, (error: unknown) => reject(String(error)));
      return () => undefined;
    });
  }

  private ask<T>(command: ProbeCommand, pick: (report: ProbeReport) => T | undefined): Promise<T> {
    const answer = this.program.message(pick);
    this.program.child.send(command);
    return answer;
  }
}

/** The settings of a process that delivers messages as soon as it runs. */
export const RELAY = { RELAY_INTERVAL_MS: '100' };

/** The settings of a process that deletes completed keys and processed messages as soon as it runs. The minimum of a retention is 0.36 s. */
export const SWEEPER = {
  IDEMPOTENCY_SWEEP_CRON: '* * * * * *',
  IDEMPOTENCY_RETENTION_HOURS: '0.0001',
  MESSAGE_RETENTION_HOURS: '0.0001',
};
