import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Program } from '../processes.js';

/** How to start a broker, and how to recognise that it has started. */
export interface Launch {
  /** Starts the process of the broker. It replaces an earlier process on the same ports and data. */
  run(): Program;
  /** A text of the log that appears as soon as the broker accepts connections. */
  ready: RegExp;
  /** Processes that the broker needs. They end after the broker. */
  companions?: readonly Program[];
}

/** A message broker on loopback, as a process that can be killed and started again, with its data in a directory of its own. */
export class Broker {
  private constructor(
    /** The port on which the broker listens. */
    readonly port: number,
    /** The port to which clients connect. A proxy that listens there can cut their connections. The broker of a test has no other clients. */
    readonly clientPort: number,
    private readonly launch: Launch,
    private program: Program,
    /** Removes the data. It also runs when this process ends. */
    private readonly remove: () => void,
  ) {}

  /** @param prepare returns the launch of a broker that keeps its data in `directory` */
  static async start(
    [port, clientPort]: readonly [port: number, clientPort: number],
    prepare: (directory: string) => Promise<Launch>,
  ): Promise<Broker> {
    const directory = mkdtempSync(join(tmpdir(), 'payments-broker-'));
    const remove = () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
    process.once('exit', remove);
    const launch = await prepare(directory);
    const program = launch.run();
    await program.said(launch.ready);
    return new Broker(port, clientPort, launch, program, remove);
  }

  signal(name: NodeJS.Signals): void {
    this.program.signal(name);
  }

  /** Kills the broker with SIGKILL. Its data stay. */
  kill(): Promise<void> {
    return this.program.end();
  }

  /** Starts the broker again after {@link kill}. Resolves when it accepts connections. */
  async restart(): Promise<void> {
    this.program = this.launch.run();
    await this.program.said(this.launch.ready);
  }

  /** Kills the broker and removes its data. */
  async stop(): Promise<void> {
    await this.kill();
    await Promise.all((this.launch.companions ?? []).map((companion) => companion.end()));
    this.remove();
    process.off('exit', this.remove);
  }
}

/**
 * Checks that a program is installed.
 *
 * @param program a name that is searched in PATH, or an absolute path
 * @param debianPackage the package that contains the program
 * @throws Error that names the package
 */
export function need(program: string, debianPackage: string): void {
  const places = program.startsWith('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  if (!places.some((place) => isExecutable(join(place, program))))
    throw new Error(`${program} is missing: apt-get install ${debianPackage}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
