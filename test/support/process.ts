import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { endProcesses, Program } from '../../harness/processes.js';
import { PATIENCE } from './waiting.js';

/** The built service as a process of its own, so that it can be killed and frozen. */
export interface ServiceProcess {
  url: string;
  /** All lines that the process wrote to stdout and stderr. */
  output: string[];
  signal(name: NodeJS.Signals): void;
  /** Resolves to the exit code, or to the signal that ended the process. */
  ended: Promise<number | string>;
}

export async function spawnService(databaseUrl: string, env: Record<string, string> = {}): Promise<ServiceProcess> {
  const program = Program.start(resolve('dist/src/main.js'), {
    name: 'The service',
    env: { DATABASE_URL: databaseUrl, PORT: '0', ...PATIENCE, ...env },
    // Jest runs with options that the service does not have in production.
    execArgv: [],
  });
  const output: string[] = [];
  for (const stream of [program.child.stdout, program.child.stderr]) {
    createInterface(stream as Readable).on('line', (line) => output.push(line));
  }
  const url = await program.served();
  return { url, output, signal: (name) => program.signal(name), ended: program.ended };
}

/** Ends the processes that a test has left running: call this in `afterAll`. */
export const killAll = endProcesses;
