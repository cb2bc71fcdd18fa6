import { type ChildProcess, spawn } from 'node:child_process';
import type { Socket } from 'node:net';

/**
 * A shell script that outlives Node and ends the server of a dead Node process.
 *
 * It reads the pid of the running server, `idle` or `done` from file descriptor 3. An end of file without `done` means that Node has died. Another
 * process may have received the pid by then, so the script signals only the process that postmaster.pid names, with SIGINT for a fast
 * shutdown.
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

/** Sends its pid to the guard and becomes the server, which keeps the pid. So the server is guarded from its first moment. */
const TELL_PID_AND_SERVE = `trap '' PIPE; echo $$ >&3; exec "$@" 3>&-`;

/** Runs PostgreSQL's programs, and makes sure that neither a server nor a throwaway directory outlives this process. */
export class Guard {
  private lifeline: Socket;

  /** @param throwaway the directory to remove if this process ends without {@link dismiss} */
  constructor(
    private readonly cluster: string,
    private readonly throwaway: string | undefined,
  ) {
    this.lifeline = this.post();
  }

  /** Starts a server that writes its output to the file descriptor `log`. */
  serve(command: readonly string[], log: number, env: NodeJS.ProcessEnv): ChildProcess {
    if (this.lifeline.destroyed) this.lifeline = this.post();
    const server = this.spawn(['/bin/sh', '-c', TELL_PID_AND_SERVE, 'sh', ...command], log, env);
    server.once('exit', () => this.lifeline.write('idle\n'));
    return server;
  }

  /** Starts a program that ends by itself. The program keeps the lifeline open, so the guard also waits for its end. */
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
      // A separate session, so that Ctrl-C reaches only Node, which drains before it stops the database.
      detached: true,
      stdio: ['ignore', log, log, this.lifeline],
      env: { PATH: process.env.PATH, LC_ALL: 'C', ...env },
    });
    child.once('error', () => undefined); // The exit code shows the failure as well.
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
    // Without a guard the server still runs, and the next command starts a new guard.
    lifeline.on('error', () => undefined);
    return lifeline;
  }
}
