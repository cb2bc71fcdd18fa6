import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Pool } from 'pg';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { migrate } from '../../src/database/migrate.js';
import { BankControl } from './bank-control.js';
import { LabClient, type LabRequest } from './client.js';
import { DatabaseProxy } from './database-proxy.js';
import { EventLog, REPLICAS, type ReplicaName } from './events.js';
import { FrontProxy } from './front-proxy.js';
import type { Implementation } from './implementations.js';
import { Replica } from './replica.js';
import { RowReader, type Rows } from './rows.js';
import { judge, type OwnCheck, type Verdict } from './verdict.js';

const LOOK_INTERVAL_MS = 40;
/** A request is stuck if it is unfinished after this number of leases, and a second for a busy machine. */
const PATIENCE_LEASES = 3;
/** Longer than a request takes to reach the bank on a busy machine. */
const GATHERING_MS = 5_000;
/** One connection for the scenario, and one for the page. */
const OBSERVERS = 2;
const DEADLOCK = '40P01';

interface Parts {
  events: EventLog;
  postgres: EmbeddedPostgres;
  observer: Pool;
  bank: BankControl;
  replicas: Record<ReplicaName, Replica>;
}

/**
 * The parts of the laboratory, all of them real: an embedded PostgreSQL, the process of the bank, two replicas, a proxy in front of the
 * replicas, one in front of PostgreSQL for each replica, and a client. Nothing is simulated except the bank.
 */
export class World {
  readonly events: EventLog;
  readonly bank: BankControl;
  readonly replicas: Record<ReplicaName, Replica>;
  readonly client: LabClient;
  proxy!: FrontProxy;
  implementation: Implementation | undefined;
  /** The last request that was made. */
  lastRequest: LabRequest | undefined;
  private rows: RowReader | undefined;
  private settings: Record<string, string> = {};
  private leaseSeconds = 0;
  private keys = 0;

  private constructor(private readonly parts: Parts) {
    this.events = parts.events;
    this.bank = parts.bank;
    this.replicas = parts.replicas;
    this.client = new LabClient(() => this.proxy.port, this.events);
  }

  /** Starts everything but the replicas, which {@link World.use} starts. */
  static async start(): Promise<World> {
    const events = new EventLog();
    const directory = await mkdtemp(join(tmpdir(), 'payments-lab-'));
    // The directory is removed when this process ends, also if it is killed.
    const postgres = await EmbeddedPostgres.start({ directory, durable: true, throwaway: true });
    await migrate(postgres.url);
    const observer = new Pool({ connectionString: postgres.url, max: OBSERVERS });
    observer.on('error', () => undefined);
    const bank = await BankControl.start(postgres.url, events);
    const replicaOf = async (name: ReplicaName) =>
      new Replica(name, await DatabaseProxy.start(name, postgres.url, events), bank.port, events);
    const replicas = { A: await replicaOf('A'), B: await replicaOf('B') };
    const world = new World({ events, postgres, observer, bank, replicas });
    world.proxy = await FrontProxy.start((replica) => replicas[replica].port, world.client, events);
    return world;
  }

  /**
   * Replaces the replicas by processes of this implementation, on empty tables.
   *
   * @param leaseSeconds the lease of a claim, if the implementation has one
   */
  async use(implementation: Implementation, leaseSeconds: number): Promise<void> {
    await this.stopReplicas();
    this.leaseSeconds = leaseSeconds;
    const { observer } = this.parts;
    if (implementation.tables) {
      await observer.query(`DROP SCHEMA IF EXISTS ${implementation.schema} CASCADE; ${implementation.tables}`);
    }
    this.implementation = implementation;
    this.rows = await new RowReader(observer, implementation.schema).open();
    this.settings = {};
    await this.reset();
  }

  /** Ends all faults, starts what does not run, empties the tables and forgets all events. */
  async reset(): Promise<void> {
    const hasSettings = Object.keys(this.settings).length > 0;
    // A request that is under way would write into the tables of the next run.
    const isBusy = this.client.underWay > 0 || this.pendingFaults.length > 0;
    if (hasSettings || isBusy) await this.stopReplicas();
    this.behave();
    await this.client.forget();
    this.lastRequest = undefined;
    this.settings = {};
    await this.startReplicas();
    await this.emptyTables();
    this.events.clear();
  }

  /** Restarts both replicas with other settings, until the next {@link World.reset}. */
  async restartWith(settings: Record<string, string>): Promise<void> {
    await this.stopReplicas();
    this.settings = settings;
    await this.startReplicas();
  }

  /** Ends all faults. A killed process stays dead. */
  behave(): void {
    this.proxy.behave();
    this.bank.behave();
    for (const { database } of Object.values(this.replicas)) database.behave();
    for (const replica of Object.values(this.replicas)) replica.wake();
  }

  get databaseUrl(): string {
    return this.parts.postgres.url;
  }

  /** The faults that were ordered and have not happened yet. */
  get pendingFaults(): string[] {
    const faults = {
      'a reply of the proxy is to be lost': this.proxy.isArmed,
      'an answer of the bank is to be lost': this.bank.isArmed,
      'an answer to COMMIT is to be lost': Object.values(this.replicas).some(({ database }) => database.isArmed),
    };
    return Object.entries(faults).flatMap(([fault, isArmed]) => (isArmed ? [fault] : []));
  }

  /** A request with a key of its own. */
  newRequest(amount = 1999): LabRequest {
    return (this.lastRequest = { key: `order_${++this.keys}`, amount, currency: 'eur' });
  }

  /** The rows of the implementation and of the bank now. */
  async snapshot(): Promise<Rows> {
    return this.rows?.read() ?? { 'bank.captures': [] };
  }

  /**
   * Makes keys expire after about a second from now on, by the settings of the implementation. Keys of an implementation without such a setting
   * are kept for ever.
   */
  async shortenRetention(): Promise<void> {
    const { shortRetention } = this.implementation ?? {};
    if (!shortRetention) return;
    this.events.note('client', `Both replicas are restarted: keys expire after ${shortRetention.seconds} s.`);
    await this.restartWith(shortRetention.settings);
  }

  /** Waits until a completed key has expired. If keys are kept for ever, deletes the key, as a job of the operator would. */
  async expire(key: string): Promise<void> {
    const { shortRetention } = this.implementation ?? {};
    if (shortRetention) {
      while (await this.reader().isYoung(key, shortRetention.seconds)) await pause(LOOK_INTERVAL_MS);
    } else await this.reader().deleteKey(key);
    this.events.note('postgres', 'The key has expired.');
  }

  /** Ends all leases, as if their time were over. */
  async endLeases(): Promise<void> {
    if (await this.reader().endLeases()) this.events.note('postgres', 'All leases end now.', { fault: 'end-leases' });
  }

  /** The time after which an unfinished request counts as stuck. */
  get patienceMs(): number {
    return PATIENCE_LEASES * this.leaseSeconds * 1000 + 1_000;
  }

  /**
   * Waits, while the bank holds its answers, until this number of requests has got as far as it can: the bank has captured, or the client
   * has an answer. A request may also wait inside of a replica, which cannot be seen from outside, so the wait has an end.
   */
  async gathered(requests: number): Promise<void> {
    const deadline = performance.now() + GATHERING_MS;
    const before = this.client.answers.length;
    const arrived = () => this.bank.captured + this.client.answers.length - before;
    while (arrived() < requests && performance.now() < deadline) await pause(LOOK_INTERVAL_MS);
  }

  /** Waits until no attempt of the client is under way and nothing is unfinished, or until the patience is over. */
  async settled(): Promise<void> {
    const deadline = performance.now() + this.patienceMs;
    while (performance.now() < deadline) {
      const unfinished = (await this.reader().effects()).unfinished;
      if (unfinished === 0 && this.client.underWay === 0) return;
      await pause(LOOK_INTERVAL_MS);
    }
  }

  /**
   * Judges what has happened since the last reset, from the database, from the bank and from the replies that the client has received. Waits first, until
   * nothing moves.
   *
   * @param requests number of requests that the client has meant; all retries of one request count as one
   */
  async verdict(requests: number, own: readonly OwnCheck[] = []): Promise<Verdict> {
    await this.settled();
    return this.judge(requests, own);
  }

  /** Judges what has happened until now. */
  async judge(requests: number, own: readonly OwnCheck[] = []): Promise<Verdict> {
    return judge({ effects: await this.reader().effects(), answers: this.client.answers, requests, own });
  }

  /** Ends all processes of this world, and removes its directory. */
  async end(): Promise<void> {
    this.client.end();
    await Promise.all([this.stopReplicas(), this.bank.end(), this.proxy.end()]);
    await Promise.all(Object.values(this.replicas).map(({ database }) => database.end()));
    await this.parts.observer.end();
    await this.parts.postgres.stop();
  }

  private reader(): RowReader {
    if (!this.rows) throw new Error('No implementation is used');
    return this.rows;
  }

  /** Starts the replicas that do not run. */
  async startReplicas(only: readonly ReplicaName[] = REPLICAS): Promise<void> {
    const { implementation } = this;
    if (!implementation) return;
    const settings = { IDEMPOTENCY_LEASE_SECONDS: String(this.leaseSeconds), ...this.settings };
    const down = only
      .map((name) => this.replicas[name])
      .filter(({ port, state }) => port === undefined && state !== 'starting');
    await Promise.all(down.map((replica) => replica.start(implementation, settings)));
  }

  private async stopReplicas(): Promise<void> {
    await Promise.all(Object.values(this.replicas).map((replica) => replica.stop()));
  }

  private async emptyTables(): Promise<void> {
    for (;;) {
      try {
        return await this.reader().empty();
      } catch (error) {
        // The background work of the service locks the same tables.
        if ((error as { code?: string }).code !== DEADLOCK) throw error;
      }
    }
  }
}
