import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from 'redis';
import { portToKeep } from '../../harness/free-port.js';
import { Program } from '../../harness/processes.js';

/** The program of a Redis or Valkey server. */
const SERVER = process.env['TEST_REDIS_SERVER'];

/** Name of the missing setting, if there is no Redis for tests. */
export const MISSING_REDIS = SERVER ? undefined : 'TEST_REDIS_SERVER';

/** A Redis on loopback, with a directory of its own. */
export class RedisServer {
  private constructor(
    readonly port: number,
    private readonly directory: string,
    private readonly settings: readonly string[],
    private program: Program,
  ) {}

  /** @param settings as arguments, such as `--appendonly yes`; by default nothing is stored on disk */
  static async start(...settings: string[]): Promise<RedisServer> {
    const [port, directory] = [await portToKeep(), mkdtempSync(join(tmpdir(), 'payments-redis-'))];
    return new RedisServer(port, directory, settings, await serve(port, directory, settings));
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
    this.program = await serve(this.port, this.directory, this.settings);
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true });
  }
}

async function serve(port: number, directory: string, settings: readonly string[]): Promise<Program> {
  const own = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', ''];
  const program = Program.run(SERVER ?? '', { args: [...own, ...settings] });
  await program.said(/Ready to accept connections/);
  return program;
}
