import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from 'redis';
import { portToKeep } from './free-port.js';
import { Program } from './processes.js';

/** A Redis or Valkey on loopback, with a directory of its own. */
export class RedisServer {
  private constructor(
    private readonly command: string,
    readonly port: number,
    private readonly directory: string,
    private readonly settings: readonly string[],
    private program: Program,
  ) {}

  /**
   * @param command the program of a Redis or Valkey server
   * @param settings as arguments, such as `--appendonly yes`; by default nothing is stored on disk
   */
  static async start(command: string, settings: readonly string[] = []): Promise<RedisServer> {
    const [port, directory] = [await portToKeep(), mkdtempSync(join(tmpdir(), 'payments-redis-'))];
    const program = await serve(command, port, directory, settings).catch((error: unknown) => {
      rmSync(directory, { recursive: true });
      throw error;
    });
    return new RedisServer(command, port, directory, settings, program);
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Opens a connection. It ends with the server, because it never connects again. */
  async connect() {
    const client = createClient({ url: this.url, socket: { reconnectStrategy: false } });
    client.on('error', () => undefined);
    return client.connect();
  }

  signal(name: NodeJS.Signals): void {
    this.program.signal(name);
  }

  /** Kills the server. Its directory stays. */
  kill(): Promise<void> {
    return this.program.end();
  }

  /** Starts the server again after {@link kill}, on the same port and with the same directory. */
  async restart(): Promise<void> {
    this.program = await serve(this.command, this.port, this.directory, this.settings);
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true });
  }
}

async function serve(command: string, port: number, directory: string, settings: readonly string[]): Promise<Program> {
  const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', ''];
  const program = Program.run(command, { args: [...own, ...settings] });
  await program.said(/Ready to accept connections/);
  return program;
}
