import { type ChildProcess, spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

/** Number of characters that are kept of the output of a process. The end of the output says why the process ended. */
const OUTPUT_LIMIT_CHARACTERS = 4_000;
/** A start takes two seconds, or ten on a machine that is five times busier than its cores. */
const START_TIMEOUT_MS = 180_000;

/** Exit code of a tool that a signal has ended, as a shell reports SIGINT. */
const INTERRUPTED = 130;
/** Exit code of a tool that could not do its work. */
const FAILED = 2;

const running = new Set<Program>();

/** Ends every process that was started here with SIGKILL, and waits until all have ended. Their state is disposable. */
export async function endProcesses(): Promise<void> {
  await Promise.all([...running].map((program) => program.end()));
}

/**
 * Runs the main function of a tool, and ends this process with its exit code, or with 2 and the error if it throws. SIGINT, SIGTERM and SIGHUP end
 * this process at once, with 130. No process that was started here is left behind, not even a frozen one.
 */
export async function runTool(main: () => Promise<number>): Promise<never> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => void endProcesses().finally(() => process.exit(INTERRUPTED)));
  }
  const exitCode = await main().catch((error: unknown) => {
    process.stderr.write(`${(error as Error).stack}\n`);
    return FAILED;
  });
  await endProcesses();
  // Servers that still listen and timers that still wait would keep this process alive.
  process.exit(exitCode);
}

// This handler also runs if an uncaught error ends this process. A frozen child process would otherwise stay frozen forever.
process.on('exit', () => running.forEach((program) => program.signal('SIGKILL')));

/** How to start a command as a process. */
export interface CommandOptions {
  /** The name in errors. Default: the command, or the path of the module. */
  name?: string;
  args?: readonly string[];
  /** The environment besides PATH, which is all that the process inherits. */
  env?: Record<string, string>;
  /** The working directory. Default: outside of the project, because a .env file of the project is not meant for a tool. */
  cwd?: string;
  /** The user that runs the process. Default: the user of this process. */
  uid?: number;
  gid?: number;
  /** File descriptors from 3 on: `ipc` is a channel for messages, `pipe` is a stream. */
  channels?: readonly ('ipc' | 'pipe')[];
}

/** How to start a compiled module as a process. */
export interface ProgramOptions extends CommandOptions {
  /** Options of Node. Default: the options of this process. */
  execArgv?: readonly string[];
}

/** A child process whose output is kept, and which is killed when this process ends. */
export class Program {
  /** The end of what the process wrote to stdout and stderr. */
  output = '';
  /** Resolves to the exit code, to the signal that ended the process, or to the error if the process could not be started. */
  readonly ended: Promise<number | string>;

  private constructor(
    readonly name: string,
    readonly child: ChildProcess,
  ) {
    running.add(this);
    this.ended = new Promise((resolve) => {
      child.once('exit', (code, signal) => resolve(code ?? signal ?? 'an unknown signal'));
      // A message to a process that has ended is an error of the child too, but does not end it.
      child.on('error', (error) => child.pid === undefined && resolve(error.message));
    });
    void this.ended.then(() => running.delete(this));
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output = (this.output + text).slice(-OUTPUT_LIMIT_CHARACTERS);
      });
    }
  }

  /** @param path of a compiled module */
  static start(
    path: string,
    { name = path, args = [], execArgv = process.execArgv, ...options }: ProgramOptions = {},
  ): Program {
    return Program.run(process.execPath, { name, args: [...execArgv, path, ...args], ...options });
  }

  /** @param command a program that does not start further processes, because only the program itself is killed with this process */
  static run(
    command: string,
    { name = command, args = [], env = {}, channels = [], cwd = tmpdir(), ...user }: CommandOptions = {},
  ): Program {
    const child = spawn(command, args, {
      cwd,
      ...user,
      env: { PATH: process.env['PATH'], ...env },
      stdio: ['ignore', 'pipe', 'pipe', ...channels],
    });
    return new Program(name, child);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  async end(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended;
  }

  /**
   * Waits for something that the process does.
   *
   * @param listen receives the functions that settle the wait, and returns the function that stops listening
   * @throws Error with the output if the process ends first, or if `reject` is called
   */
  async expect<T>(listen: (resolve: (value: T) => void, reject: (reason: string) => void) => () => void): Promise<T> {
    let stop: () => void = () => undefined;
    try {
      return await new Promise<T>((resolve, reject) => {
        const fail = (reason: string) => reject(new Error(`${this.name} ${reason}\n${this.output}`.trim()));
        stop = listen(resolve, fail);
        void this.ended.then((end) => fail(`ended with ${end}`));
      });
    } finally {
      stop();
    }
  }

  /**
   * Waits for a message.
   *
   * @param pick returns undefined to skip a message, and may call `reject` with a reason to fail
   * @throws Error with the output if the process ends first, or if `reject` is called
   */
  message<Message, T>(pick: (message: Message, reject: (reason: string) => void) => T | undefined): Promise<T> {
    return this.expect((resolve, reject) => {
      const onMessage = (message: Message) => {
        const picked = pick(message, reject);
        if (picked !== undefined) resolve(picked);
      };
      this.child.on('message', onMessage);
      return () => this.child.off('message', onMessage);
    });
  }

  /**
   * Waits until the process has written a text.
   *
   * @returns the match
   * @throws Error with the output if the process ends first, or does not write the text within three minutes
   */
  said(text: RegExp): Promise<RegExpExecArray> {
    return this.expect((resolve, reject) => {
      // A chunk may be longer than the output that is kept.
      const look = (chunk = '') => {
        const match = text.exec(chunk) ?? text.exec(this.output);
        if (match) resolve(match);
      };
      const timer = setTimeout(() => reject(`did not start within ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
      const streams = [this.child.stdout, this.child.stderr];
      for (const stream of streams) stream?.on('data', look);
      look();
      return () => {
        clearTimeout(timer);
        for (const stream of streams) stream?.off('data', look);
      };
    });
  }

  /**
   * Waits until the process, which is the service, answers requests.
   *
   * @returns the URL of the service
   * @throws Error with the output if the process ends first, or does not serve within three minutes
   */
  async served(): Promise<string> {
    const [, url = ''] = await this.said(/served at (\S+),/);
    return url;
  }
}

const builtPath = (module: string) => fileURLToPath(new URL(`../${module}`, import.meta.url));

/** Starts a compiled module, given relative to the build folder, with a channel for messages. */
export const startModule = (module: string, env: Record<string, string> = {}): Program =>
  Program.start(builtPath(module), { name: module, env, channels: ['ipc'] });

/** Starts a compiled module, given relative to the build folder, without a channel for messages. */
export const startAlone = (module: string, env: Record<string, string>): Program =>
  Program.start(builtPath(module), { name: module, env });
