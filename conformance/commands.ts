import { execFile, spawn } from 'node:child_process';
import { TargetError } from './finding.js';

/** The longest time that a command may take, because stopping a container may take ten seconds. */
const COMMAND_TIMEOUT_MS = 60_000;

/**
 * Runs a command of the options with `sh`, and waits until it has ended.
 *
 * @returns what the command has printed
 * @throws TargetError if the command fails or takes longer than a minute
 */
export function runCommand(option: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', command], { timeout: COMMAND_TIMEOUT_MS }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const end = error.killed ? `did not end within ${COMMAND_TIMEOUT_MS / 1000} s` : `ended with ${error.code}`;
      reject(new TargetError(`${option}: the command ${end}: ${(stderr || stdout).trim().slice(-500)}`));
    });
  });
}

/** A command that was started, and has perhaps ended. */
export interface Started {
  /** Why the command failed; undefined while it runs, and after it has ended with 0. */
  failure(): string | undefined;
}

/**
 * Starts a command of the options with `sh`, and does not wait for its end, because the command may be the service itself. The command keeps
 * running when the kit ends, and its output is discarded, because a pipe to the kit would break then.
 */
export function startCommand(command: string): Started {
  const child = spawn('sh', ['-c', command], { detached: true, stdio: 'ignore' });
  let failure: string | undefined;
  child.on('error', (error) => (failure = error.message));
  child.on('exit', (code, signal) => {
    if (code !== 0) failure = `ended with ${code ?? signal}`;
  });
  child.unref();
  return { failure: () => failure };
}
