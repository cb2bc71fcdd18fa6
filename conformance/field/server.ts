import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { portToKeep } from '../../harness/free-port.js';
import { Program } from '../../harness/processes.js';

const START_TIMEOUT_MS = 60_000;
const LOOK_INTERVAL_MS = 100;

/** The server of a library, which is restarted when it is killed, as a process manager does. */
export class Server {
  private program: Program | undefined;
  private stopping = false;
  private supervision: Promise<void> = Promise.resolve();

  private constructor(
    private readonly command: readonly [string, ...string[]],
    private readonly env: Readonly<Record<string, string>>,
    private readonly directory: string,
    readonly url: string,
  ) {}

  /** @throws Error with the output of the server if it does not answer within a minute */
  static async start(
    command: readonly [string, ...string[]],
    env: Readonly<Record<string, string>>,
    readyPath: string,
  ): Promise<Server> {
    const port = await portToKeep();
    const directory = await mkdtemp(join(tmpdir(), 'payments-field-server-'));
    const own = { ...env, PORT: String(port) };
    const server = new Server(command, own, directory, `http://127.0.0.1:${port}`);
    server.supervision = server.supervise();
    await server.untilReady(readyPath);
    return server;
  }

  /**
   * A command for `sh` that kills the server at once. The file with the process id is removed before, because the server may be started again at once,
   * and because no other process must be killed by an old id.
   */
  get killCommand(): string {
    return `pid=$(cat ${this.pidFile}) && rm ${this.pidFile} && kill -9 $pid`;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.program?.end();
    await this.supervision;
    await rm(this.directory, { recursive: true });
  }

  private get pidFile(): string {
    return join(this.directory, 'pid');
  }

  private async supervise(): Promise<void> {
    const [command, ...args] = this.command;
    while (!this.stopping) {
      this.program = Program.run(command, { args, cwd: this.directory, env: this.env });
      await writeFile(this.pidFile, String(this.program.pid));
      const end = await this.program.ended;
      // A server that ends by itself cannot be checked. Its output is in the error of the start, or the kit reports that it does not answer.
      if (end !== 'SIGKILL') return;
    }
  }

  private async untilReady(path: string): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!(await this.isReady(path))) {
      const ended = await Promise.race([this.program?.ended, pause(LOOK_INTERVAL_MS, undefined)]);
      if (ended === undefined && performance.now() < deadline) continue;
      const output = this.program?.output ?? '';
      await this.stop();
      throw new Error(`The server ${ended === undefined ? 'did not answer' : `ended with ${ended}`}\n${output}`);
    }
  }

  private isReady(path: string): Promise<boolean> {
    return fetch(new URL(path, this.url)).then(
      ({ ok }) => ok,
      () => false,
    );
  }
}
