import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

/** The end of what a process writes, which says why it ended. */
const OUTPUT_LIMIT_CHARACTERS = 4_000;

const running = new Set<Program>();

/** Ends every process that was started here, and waits for it. They keep nothing that anybody needs. */
export async function endProcesses(): Promise<void> {
  await Promise.all([...running].map((program) => program.end()));
}

// Also when this one ends by an error that nobody has caught. Whoever is frozen would otherwise stay so.
process.on('exit', () => running.forEach(({ child }) => child.kill('SIGKILL')));

/** A process of ours. It never outlives this one by its own choice, and what it wrote is known. */
export class Program {
  /** The end of what it wrote, both streams. */
  output = '';
  readonly ended: Promise<unknown>;

  /** @param name for errors */
  constructor(
    readonly name: string,
    readonly child: ChildProcess,
  ) {
    running.add(this);
    this.ended = once(child, 'exit').finally(() => running.delete(this));
    this.ended.catch(() => undefined);
    // A message to a process that has died is such an error; whoever waits for the answer hears of its end.
    child.on('error', () => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-OUTPUT_LIMIT_CHARACTERS);
      });
    }
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  async end(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended.catch(() => undefined);
  }

  /**
   * Waits for something that the process is to bring about.
   *
   * @param listen is given how to settle, and returns how to stop listening
   * @throws Error with what the process wrote, when it ends instead
   */
  async expect<T>(listen: (resolve: (value: T) => void, reject: (reason: string) => void) => () => void): Promise<T> {
    let stop: () => void = () => undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        const fail = (reason: string) => reject(new Error(`${this.name} ${reason}\n${this.output}`.trim()));
        stop = listen(resolve, fail);
        this.ended.then(
          () => fail(`ended with ${this.child.exitCode ?? this.child.signalCode}`),
          (error: unknown) => fail(String(error)),
        );
      });
    } finally {
      stop();
    }
  }
}

// Away from the project, whose .env is not the benchmark's.
const placeOf = (env: Record<string, string>) => ({ cwd: tmpdir(), env: { PATH: process.env['PATH'], ...env } });

/** Starts a compiled module, given relative to the build folder, with a channel for messages. */
export function startModule(module: string, env: Record<string, string> = {}): Program {
  const path = fileURLToPath(new URL(`../${module}`, import.meta.url));
  return new Program(module, fork(path, { ...placeOf(env), stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }));
}

/** Starts a compiled module, given relative to the build folder, with the options that Node was given here, as a fork has. */
export function startAlone(module: string, env: Record<string, string>): Program {
  const path = fileURLToPath(new URL(`../${module}`, import.meta.url));
  return new Program(
    module,
    spawn(process.execPath, [...process.execArgv, path], { ...placeOf(env), stdio: ['ignore', 'pipe', 'pipe'] }),
  );
}
