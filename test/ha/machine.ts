import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { portToKeep } from '../../harness/free-port.js';
import { Program } from '../../harness/processes.js';
import { sqlAt } from '../../harness/sql.js';

/** Where the servers run. */
export interface Site {
  /** The folder of the configuration files. */
  config: string;
  /** The folder for the data of all machines. */
  data: string;
  /** The program of Patroni. */
  patroni: string;
  /** The folder of the programs of PostgreSQL. */
  postgresBin: string;
  /** The user that runs the servers, because PostgreSQL refuses to run as root. */
  owner: { uid: number; gid: number };
}

/** A random password for each role that Patroni uses, and for the role of the service. */
export interface Passwords {
  superuser: string;
  replication: string;
  rewind: string;
  restapi: string;
  payments: string;
}

/** One machine of the cluster: a member of etcd, Patroni, and the PostgreSQL that Patroni starts. `run.sh` ends a PostgreSQL that is left. */
export class Machine {
  private programs: { etcd: Program; patroni: Program } | undefined;

  private constructor(
    readonly name: string,
    private readonly site: Site,
    private readonly passwords: Passwords,
    private readonly ports: { etcd: number; peer: number; postgres: number; patroni: number },
  ) {}

  /** Chooses the ports of a machine, without starting it. */
  static async plan(name: string, site: Site, passwords: Passwords): Promise<Machine> {
    const [etcd, peer] = [await portToKeep(), await portToKeep()];
    return new Machine(name, site, passwords, {
      etcd,
      peer,
      postgres: await portToKeep(),
      patroni: await portToKeep(),
    });
  }

  get postgres(): string {
    return `127.0.0.1:${this.ports.postgres}`;
  }

  get patroniPort(): number {
    return this.ports.patroni;
  }

  /** Starts etcd and Patroni, which starts PostgreSQL. */
  start(machines: readonly Machine[]): void {
    this.programs = { etcd: this.startEtcd(machines), patroni: this.startPatroni(machines) };
  }

  /** Kills all processes of PostgreSQL at once. */
  killPostgres(): void {
    const postmaster = this.postmaster();
    // Every process of PostgreSQL is a child of the postmaster. A stopped postmaster starts no other process while they are being killed.
    signal(postmaster, 'SIGSTOP');
    for (const pid of [...childrenOf(postmaster), postmaster]) signal(pid, 'SIGKILL');
  }

  /** Kills every process of the machine, as a power cut does. The files stay. */
  async kill(): Promise<void> {
    const { etcd, patroni } = this.running();
    // Patroni first, because it would restart PostgreSQL.
    await patroni.end();
    this.killPostgres();
    await etcd.end();
    this.programs = undefined;
  }

  /** Whether PostgreSQL believes that it is the primary. */
  async isPrimary(): Promise<boolean> {
    const sql = sqlAt(`postgres://payments:${this.passwords.payments}@${this.postgres}/payments`);
    const [row] = await sql<{ isStandby: boolean }>('SELECT pg_is_in_recovery() AS "isStandby"');
    return row?.isStandby === false;
  }

  freezePatroni(): void {
    this.running().patroni.signal('SIGSTOP');
  }

  wakePatroni(): void {
    this.running().patroni.signal('SIGCONT');
  }

  /** The end of what the programs wrote. */
  get output(): string {
    return Object.values(this.programs ?? {})
      .map(({ name, output }) => `${name}:\n${output}`)
      .join('\n');
  }

  private running() {
    if (!this.programs) throw new Error(`${this.name} is not running`);
    return this.programs;
  }

  private postmaster(): number {
    return Number(readFileSync(join(this.site.data, this.name, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);
  }

  private startEtcd(machines: readonly Machine[]): Program {
    const settings = readFileSync(join(this.site.config, 'etcd.env'), 'utf8').matchAll(/^(ETCD_\w+)=(.*)$/gm);
    const [client, peer] = [`http://127.0.0.1:${this.ports.etcd}`, `http://127.0.0.1:${this.ports.peer}`];
    return Program.run('etcd', {
      name: `etcd of ${this.name}`,
      cwd: this.site.data,
      ...this.site.owner,
      env: {
        ...Object.fromEntries([...settings].map(([, name = '', value = '']) => [name, value])),
        ETCD_NAME: this.name,
        ETCD_DATA_DIR: join(this.site.data, this.name, 'etcd'),
        ETCD_LISTEN_CLIENT_URLS: client,
        ETCD_ADVERTISE_CLIENT_URLS: client,
        ETCD_LISTEN_PEER_URLS: peer,
        ETCD_INITIAL_ADVERTISE_PEER_URLS: peer,
        ETCD_INITIAL_CLUSTER: machines.map(({ name, ports }) => `${name}=http://127.0.0.1:${ports.peer}`).join(),
      },
    });
  }

  private startPatroni(machines: readonly Machine[]): Program {
    const { config, data, patroni, postgresBin, owner } = this.site;
    const { superuser, replication, rewind, restapi, payments } = this.passwords;
    const [rest, postgres] = [`127.0.0.1:${this.ports.patroni}`, this.postgres];
    return Program.run(patroni, {
      name: `Patroni of ${this.name}`,
      args: ['patroni.yml'],
      cwd: config,
      ...owner,
      env: {
        PATRONI_NAME: this.name,
        PATRONI_ETCD3_HOSTS: machines.map(({ ports }) => `'127.0.0.1:${ports.etcd}'`).join(),
        PATRONI_RESTAPI_LISTEN: rest,
        PATRONI_RESTAPI_CONNECT_ADDRESS: rest,
        PATRONI_RESTAPI_USERNAME: 'patroni',
        PATRONI_RESTAPI_PASSWORD: restapi,
        PATRONI_POSTGRESQL_LISTEN: postgres,
        PATRONI_POSTGRESQL_CONNECT_ADDRESS: postgres,
        PATRONI_POSTGRESQL_BIN_DIR: postgresBin,
        PATRONI_POSTGRESQL_DATA_DIR: join(data, this.name, 'postgres'),
        PATRONI_POSTGRESQL_PGPASS: join(data, this.name, 'pgpass'),
        PATRONI_SUPERUSER_USERNAME: 'postgres',
        PATRONI_SUPERUSER_PASSWORD: superuser,
        PATRONI_REPLICATION_USERNAME: 'replicator',
        PATRONI_REPLICATION_PASSWORD: replication,
        PATRONI_REWIND_USERNAME: 'rewinder',
        PATRONI_REWIND_PASSWORD: rewind,
        PAYMENTS_PASSWORD: payments,
      },
    });
  }
}

const childrenOf = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(/\s+/).filter(Boolean).map(Number);

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // A process that has ended since needs no signal.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
