import { fileURLToPath } from 'node:url';
import { Program } from '../../harness/processes.js';
import { DatabaseProxy } from './database-proxy.js';
import type { EventLog, Fault, ReplicaName } from './events.js';
import type { Implementation } from './implementations.js';

/** `failed`: the process was started and has not come back. */
export type ReplicaState = 'starting' | 'running' | 'killed' | 'frozen' | 'stopped' | 'failed';

/** One process of an implementation, behind a proxy to PostgreSQL. */
export class Replica {
  state: ReplicaState = 'stopped';
  /** The port of the running process; undefined if it does not run. */
  port: number | undefined;
  private program: Program | undefined;

  constructor(
    readonly name: ReplicaName,
    readonly database: DatabaseProxy,
    private readonly bankPort: number,
    private readonly events: EventLog,
  ) {}

  /**
   * Starts a process of the implementation, and waits until it serves.
   *
   * @throws Error with the output of the process if it ends instead
   */
  async start(implementation: Implementation, settings: Record<string, string>): Promise<void> {
    const program = Program.start(fileURLToPath(new URL(implementation.program, import.meta.url)), {
      name: `replica ${this.name} of ${implementation.name}`,
      env: {
        ...implementation.settings,
        ...settings,
        PORT: '0',
        DATABASE_URL: this.database.url,
        GATEWAY_URL: `http://127.0.0.1:${this.bankPort}/${this.name}`,
      },
      // The processes of the lab end when this channel closes, so also if the lab is killed.
      channels: ['ipc'],
    });
    this.program = program;
    this.state = 'starting';
    void program.ended.then(() => {
      if (this.program !== program) return;
      this.port = undefined;
      if (this.state !== 'killed') this.note('killed', 'The process has ended by itself.', 'kill');
    });
    const url = await program.served().catch((error: unknown) => {
      if (this.program === program) this.state = 'failed';
      throw error;
    });
    this.port = Number(new URL(url).port);
    this.note('running', 'The process is started.', 'start');
  }

  /** Kills the process, which cannot prepare for it: SIGKILL. */
  async kill(): Promise<void> {
    if (!this.program || this.state === 'killed') return;
    this.note('killed', 'The process is killed.', 'kill');
    await this.program.end();
  }

  /** Stops the process in the middle of what it does: SIGSTOP. */
  freeze(): void {
    if (this.state !== 'running') return;
    this.program?.signal('SIGSTOP');
    this.note('frozen', 'The process is frozen.', 'freeze');
  }

  /** Lets a frozen process continue: SIGCONT. */
  wake(): void {
    if (this.state !== 'frozen') return;
    this.program?.signal('SIGCONT');
    this.note('woken', 'The process continues.', 'wake');
  }

  /** Ends the process without an event. */
  async stop(): Promise<void> {
    const { program } = this;
    this.program = undefined;
    this.port = undefined;
    this.state = 'stopped';
    await program?.end();
  }

  private note(state: 'running' | 'killed' | 'frozen' | 'woken', text: string, fault: Fault): void {
    this.state = state === 'woken' ? 'running' : state;
    this.events.add({ kind: 'process', from: this.name, to: this.name, text, state, fault });
  }
}
