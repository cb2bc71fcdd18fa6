import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';

/**
 * Outlives Node and cleans up after it. File descriptor 3 tells it the pid of what runs, `idle` or `done`; its end of
 * file without `done` means that Node is gone, however that came. The pid alone may have been given to another process
 * by then, so only a process that postmaster.pid names is signalled, with SIGINT for a fast shutdown.
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

/** Tells the guard its pid, which stays the same when it becomes the server: no moment is unguarded. */
const TELL_PID_AND_SERVE = `trap '' PIPE; echo $$ >&3; exec "$@" 3>&-`;

/** Runs PostgreSQL's programs so that no server, and no throwaway directory, outlives this process. */
export class Guard {
  private lifeline: Socket;

  /** @param throwaway the directory to remove when this process ends without {@link dismiss} */
  constructor(
    private readonly cluster: string,
    private readonly throwaway: string | undefined,
  ) {
    this.lifeline = this.post();
  }

  /** Starts a server, whose output goes to the file descriptor `log`. */
  serve(command: readonly string[], log: number, env: NodeJS.ProcessEnv): ChildProcess {
    if (this.lifeline.destroyed) this.lifeline = this.post();
    const server = this.spawn(['/bin/sh', '-c', TELL_PID_AND_SERVE, 'sh', ...command], log, env);
    server.once('exit', () => this.lifeline.write('idle\n'));
    return server;
  }

  /** Starts a program that ends by itself. It keeps the lifeline open, so that the guard waits for its end as well. */
  run(command: readonly string[], log: number): ChildProcess {
    return this.spawn(command, log, {});
  }

  /** To be called when nothing is left to guard. */
  dismiss(): void {
    this.lifeline.end('done\n');
  }

  private spawn([program = '', ...args]: readonly string[], log: number, env: NodeJS.ProcessEnv): ChildProcess {
    const child = spawn(program, args, {
      cwd: '/',
      // A session of its own, so that Ctrl-C reaches only Node, which drains before it stops the database.
      detached: true,
      stdio: ['ignore', log, log, this.lifeline],
      env: { PATH: process.env.PATH, LC_ALL: 'C', ...env },
    });
    child.once('error', () => undefined); // The exit code tells it as well.
    return child;
  }

  private post(): Socket {
    const guard = spawn('/bin/sh', ['-c', GUARD, 'postgres-guard', this.cluster, this.throwaway ?? ''], {
      cwd: '/',
      detached: true,
      stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
    });
    guard.once('error', () => undefined);
    guard.unref();
    const lifeline = guard.stdio[3] as Socket;
    lifeline.unref();
    // Without a guard the server still runs; the next command posts a new one.
    lifeline.on('error', () => undefined);
    return lifeline;
  }
}
