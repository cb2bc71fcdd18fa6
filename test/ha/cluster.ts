import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { portToKeep } from '../../harness/free-port.js';
import { Program } from '../../harness/processes.js';
import { Machine, type Passwords, type Site } from './machine.js';

const LOOK_INTERVAL_MS = 100;
/** Ten times the longest step: a machine that dies is replaced after 20 s, the `ttl` of Patroni. */
const PATIENCE_MS = 200_000;
/** An answer of Patroni, which a frozen Patroni does not give. */
const ANSWER_TIMEOUT_MS = 1_000;

/** A member of the cluster, as Patroni describes it. */
interface Member {
  name: string;
  role: 'leader' | 'quorum_standby' | 'replica';
  state: string;
}

/** Three machines with etcd, Patroni and PostgreSQL, and a HAProxy in front, in the configuration of `deploy/ha`. */
export class Cluster {
  private constructor(
    readonly machines: readonly Machine[],
    private readonly passwords: Passwords,
    private readonly port: number,
    private readonly haproxy: Program,
  ) {}

  /** Starts everything, and waits until a standby can replace the primary. */
  static async start(site: Site): Promise<Cluster> {
    const secret = () => randomBytes(16).toString('hex');
    const passwords = {
      superuser: secret(),
      replication: secret(),
      rewind: secret(),
      restapi: secret(),
      payments: secret(),
    };
    const machines: Machine[] = [];
    for (const name of ['node1', 'node2', 'node3']) machines.push(await Machine.plan(name, site, passwords));
    const port = await portToKeep();
    const env = Object.fromEntries(
      machines.flatMap(({ postgres, patroniPort }, i) => [
        [`HA_NODE${i + 1}`, postgres],
        [`HA_NODE${i + 1}_PATRONI`, String(patroniPort)],
      ]),
    );
    for (const machine of machines) machine.start(machines);
    const haproxy = Program.run('haproxy', {
      args: ['-f', join(site.config, 'haproxy.cfg')],
      cwd: site.data,
      ...site.owner,
      env: { HA_LISTEN: `127.0.0.1:${port}`, ...env },
    });
    const cluster = new Cluster(machines, passwords, port, haproxy);
    await cluster.isWhole();
    return cluster;
  }

  /** The address of the primary, which HAProxy finds. */
  get url(): string {
    return `postgres://payments:${this.passwords.payments}@127.0.0.1:${this.port}/payments`;
  }

  async primary(): Promise<Machine> {
    const leader = (await this.members()).find(({ role }) => role === 'leader');
    const primary = this.machines.find(({ name }) => name === leader?.name);
    if (!primary) throw new Error('The cluster has no primary');
    return primary;
  }

  /** Resolves when another machine than `old` has become the primary. */
  async isReplaced(old: Machine): Promise<void> {
    await this.until(
      `${old.name} is replaced`,
      (members) =>
        members.some(({ name, role, state }) => role === 'leader' && name !== old.name && state === 'running'),
      this.machines.filter((machine) => machine !== old),
    );
  }

  /** Resolves when there is a primary and both other machines follow it, so that either can replace it. */
  async isWhole(): Promise<void> {
    await this.until('all machines are in the quorum', (members) => {
      const standbys = members.filter(({ role, state }) => role === 'quorum_standby' && state === 'streaming');
      const leaders = members.filter(({ role, state }) => role === 'leader' && state === 'running');
      return leaders.length === 1 && standbys.length === this.machines.length - 1;
    });
  }

  /** Makes another machine the primary, as an operator does before the maintenance of a machine. */
  async switchOver(): Promise<void> {
    const primary = await this.primary();
    const response = await fetch(`http://127.0.0.1:${primary.patroniPort}/switchover`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`patroni:${this.passwords.restapi}`)}` },
      body: JSON.stringify({ leader: primary.name }),
    });
    if (!response.ok) throw new Error(`Patroni refused the switchover: ${response.status} ${await response.text()}`);
  }

  /** The output of every program, for an error. */
  get output(): string {
    return [...this.machines.map(({ output }) => output), `haproxy:\n${this.haproxy.output}`].join('\n\n');
  }

  private async until(
    what: string,
    isTrue: (members: readonly Member[]) => boolean,
    asked: readonly Machine[] = this.machines,
  ): Promise<void> {
    for (const deadline = performance.now() + PATIENCE_MS; ;) {
      const members = await this.members(asked).catch(() => []);
      if (isTrue(members)) return;
      if (performance.now() > deadline) {
        throw new Error(`Not within ${PATIENCE_MS / 1000} s: ${what}; ${JSON.stringify(members)}\n${this.output}`);
      }
      await pause(LOOK_INTERVAL_MS);
    }
  }

  /** Asks the machines for the members of the cluster. The first answer counts. */
  private async members(asked: readonly Machine[] = this.machines): Promise<Member[]> {
    return Promise.any(
      asked.map(async ({ patroniPort }) => {
        const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
        const response = await fetch(`http://127.0.0.1:${patroniPort}/cluster`, { signal });
        return ((await response.json()) as { members: Member[] }).members;
      }),
    );
  }
}
