import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';

/**
 * A shell script that outlives Node and ends the server of a dead Node process.
 *
 * The script reads lines from file descriptor 3: the pid of a server that starts, `idle` after the server has ended, and `done` if the guard
 * is no longer needed. An end of file without `done` means that Node has died. By then the server may have ended, and another process may
 * have received its pid. So the script sends SIGINT, which requests a fast shutdown, only while postmaster.pid names this pid.
 */
const GUARD = `
trap '' HUP INT TERM
while read -r word <&3; do
  case $word in done) exit ;; idle) pid= ;; *) pid=$word ;; esac
done
tenths=0 asked=
while [ -n "$pid" ] && [ $tenths -lt 600 ] && kill -0 "$pid"; do
  owner=
  [ -f "$1/postmaster.pid" ] && read -r owner <"$1/postmaster.pid"
  if [ "$owner" = "$pid" ]; then kill -INT "$pid"; asked=yes
  elif [ -n "$asked" ]; then break
  fi
  sleep 0.1
  tenths=$((tenths + 1))
done
[ -z "$2" ] || rm -rf -- "$2" || { sleep 1; rm -rf -- "$2"; }`;

/**
 * A shell script that sends its own pid to the guard and then becomes the server. `exec` keeps the pid, so the guard knows the pid before the
 * server starts.
 */
const TELL_PID_AND_SERVE = `trap '' PIPE; echo $$ >&3; exec "$@" 3>&-`;

/** Runs PostgreSQL's programs, and makes sure that neither a server nor a throwaway directory outlives this process. */
export class Guard {
  /** The pipe to file descriptor 3 of the guard. */
  private lifeline: Socket;

  /** @param throwaway the directory to remove if this process ends without {@link dismiss} */
  constructor(
    private readonly cluster: string,
    private readonly throwaway: string | undefined,
  ) {
    this.lifeline = this.startGuard();
  }

  /** Starts a server that writes its output to the file descriptor `log`. */
  serve(command: readonly string[], log: number, env: NodeJS.ProcessEnv): ChildProcess {
    if (this.lifeline.destroyed) this.lifeline = this.startGuard();
    const server = this.spawn(['/bin/sh', '-c', TELL_PID_AND_SERVE, 'sh', ...command], log, env);
    server.once('exit', () => this.lifeline.write('idle\n'));
    return server;
  }

  /**
   * Starts a program that ends by itself. The program inherits the lifeline, so the guard sees the end of file only after the program has
   * ended.
   */
  run(command: readonly string[], log: number): ChildProcess {
    return this.spawn(command, log, {});
  }

  /** Ends the guard. Call it after the server has ended. */
  dismiss(): void {
    this.lifeline.end('done\n');
  }

  private spawn([program = '', ...args]: readonly string[], log: number, env: NodeJS.ProcessEnv): ChildProcess {
    const child = spawn(program, args, {
      cwd: '/',
      // The program gets a session of its own, so that Ctrl-C reaches only Node. Node drains its requests before it stops the database.
      detached: true,
      stdio: ['ignore', log, log, this.lifeline],
      env: { PATH: process.env.PATH, LC_ALL: 'C', ...env },
    });
    child.once('error', () => undefined); // The caller sees the failure in the exit code.
    return child;
  }

  private startGuard(): Socket {
    const guard = spawn('/bin/sh', ['-c', GUARD, 'postgres-guard', this.cluster, this.throwaway ?? ''], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    guard.once('error', () => undefined);
    guard.unref();
    const lifeline = guard.stdio[3] as Socket;
    lifeline.unref();
    // If the guard has died, the server still runs, and the next call of `serve` starts a new guard.
    lifeline.on('error', () => undefined);
    return lifeline;
  }
}
