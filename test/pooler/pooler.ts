import { chmod, copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { portToKeep } from '../../harness/free-port.js';
import { Program } from '../../harness/processes.js';
import { sqlAt } from '../../harness/sql.js';

/** PgBouncer refuses to run as root. On Linux this user has no special rights. */
const NOBODY = { uid: 65534, gid: 65534 };
const CONFIGURATION = 'deploy/pgbouncer/pgbouncer.ini';

/** A PgBouncer in front of a PostgreSQL server, in the configuration of `deploy/pgbouncer`. */
export class Pooler {
  private program: Program | undefined;

  private constructor(
    private readonly directory: string,
    private readonly port: number,
    private readonly databaseUrl: string,
  ) {}

  /**
   * Starts PgBouncer.
   *
   * @param path of the program
   * @param directory for its files, which is removed by the caller
   * @param databaseUrl of the database, without the pooler
   */
  static async start(path: string, directory: string, databaseUrl: string): Promise<Pooler> {
    const pooler = new Pooler(directory, await portToKeep(), databaseUrl);
    const { username, password } = new URL(databaseUrl);
    // Other users than root cannot read the project if the project is in the home directory of root, so all files are copied.
    await chmod(directory, 0o755);
    await copyFile(path, join(directory, 'pgbouncer'));
    await copyFile(CONFIGURATION, join(directory, 'deployed.ini'));
    await writeFile(join(directory, 'userlist.txt'), `"${username}" "${password}"\n`);
    await pooler.restart();
    return pooler;
  }

  /** The URL of the database behind the pooler. */
  get url(): string {
    return this.urlOf(new URL(this.databaseUrl).pathname);
  }

  /** The time that clients have waited for server connections since the last start, all of it together. */
  async waitedSeconds(): Promise<number> {
    const rows = await sqlAt(this.urlOf('/pgbouncer'))<{ total_wait_time: string }>('SHOW STATS');
    return rows.reduce((sum, row) => sum + Number(row.total_wait_time), 0) / 1e6;
  }

  /** Kills PgBouncer with all its connections, and starts it with these settings besides the deployed ones. */
  async restart(settings = ''): Promise<void> {
    await this.program?.end();
    const { username, hostname, port, pathname } = new URL(this.databaseUrl);
    const configuration = join(this.directory, 'pgbouncer.ini');
    await writeFile(
      configuration,
      `[databases]
${pathname.slice(1)} = host=${hostname} port=${port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${this.port}
auth_file = ${join(this.directory, 'userlist.txt')}
stats_users = ${username}
%include ${join(this.directory, 'deployed.ini')}
${settings}
`,
    );
    this.program = Program.run(join(this.directory, 'pgbouncer'), {
      name: 'PgBouncer',
      args: [configuration],
      cwd: this.directory,
      ...(process.geteuid?.() === 0 && NOBODY),
    });
    await this.program.said(/process up/);
  }

  private urlOf(path: string): string {
    const url = new URL(path, this.databaseUrl);
    url.port = String(this.port);
    return url.href;
  }
}
