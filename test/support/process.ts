import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { PATIENCE } from './waiting.js';

/** The built service as a process of its own, so that it can be killed and frozen. */
export interface ServiceProcess {
  url: string;
  /** Lines that the process wrote to stdout and stderr. */
  output: string[];
  signal(name: NodeJS.Signals): void;
  /** Resolves to the exit code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>;
}

const running = new Set<ChildProcess>();

export async function spawnService(databaseUrl: string, env: Record<string, string> = {}): Promise<ServiceProcess> {
  const child = spawn(process.execPath, [resolve('dist/src/main.js')], {
    // Outside the project's folder, because the tests must not use its .env.
    cwd: tmpdir(),
    env: { PATH: process.env['PATH'], DATABASE_URL: databaseUrl, PORT: '0', ...PATIENCE, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const output: string[] = [];
  const ended = once(child, 'exit').then(([code, signal]) => (running.delete(child), (code ?? signal) as number));
  const url = await new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on('line', (line) => {
        output.push(line);
        const match = /served at (\S+),/.exec(line);
        if (match?.[1]) resolve(match[1]);
      });
    }
    ended.then((code) => reject(new Error(`The service ended with ${code}:\n${output.join('\n')}`)), reject);
  });
  return { url, output, signal: (name) => child.kill(name), ended };
}

/** Kills the processes that a test has left running. Call it in `afterEach` or `afterAll`. */
export async function killAll(): Promise<void> {
  const children = [...running];
  await Promise.all(
    children.map((child) => {
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      return exit;
    }),
  );
}
