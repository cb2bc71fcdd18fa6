import { countEffects } from '../../harness/effects.js';
import { type Program, startModule } from '../../harness/processes.js';
import type { BenchDatabase, BenchServer } from '../database.js';
import { checkHonesty } from '../honesty.js';
import type { LoadJob } from '../load.js';
import type { Job } from '../measurement.js';
import { KNOWN_KEYS } from '../scenarios.js';
import type { Worker } from '../worker.js';
import type { BankReport } from './bank.js';
import type { Operation, Reading } from './figures.js';
import { type Load, Meter, until } from './meter.js';
import { RELAY, Replica, SWEEPER, type Tree } from './tree.js';

const CONNECTIONS = 64;
/** The amount of every charge of the load generator, in cents. */
const AMOUNT = 1_999;

/** How much is measured. */
export interface RoundPlan {
  /** Requests of each kind before the first run, so that V8 has compiled all functions that are used often. */
  warmUp: number;
  requests: number;
  /** Requests over one connection: fewer, because one connection is slow, and because each of its requests costs more. */
  loneWarmUp: number;
  loneRequests: number;
  /** Requests that open the connections to PostgreSQL before a run. */
  reconnecting: number;
  /** How long PostgreSQL may take to publish its statistics. */
  statisticsMs: number;
}

export const USUAL: RoundPlan = {
  warmUp: 10_000,
  requests: 10_000,
  loneWarmUp: 500,
  loneRequests: 1_000,
  reconnecting: 640,
  // A backend publishes its counts when it has been idle for 10 s.
  statisticsMs: 10_500,
};

/** A quick run does not wait for statistics, so it finds too few fsyncs. */
export const QUICK: RoundPlan = {
  warmUp: 128,
  requests: 128,
  loneWarmUp: 5,
  loneRequests: 20,
  reconnecting: 64,
  statisticsMs: 0,
};

interface Effects {
  charges: number;
  captures: number;
  keys: number;
  orders: number;
  /** Pieces in stock. */
  stock: number;
  balance: number;
}

const BALANCE = 'SELECT coalesce(sum(amount), 0)::float8 AS balance FROM balances';
const COUNT = `
  SELECT (SELECT count(*)::int FROM orders) AS orders, (SELECT sum(stock)::int FROM inventory) AS stock, (${BALANCE})`;
const COUNT_SWEPT = `
  SELECT (SELECT count(*)::int FROM processed_requests) + (SELECT count(*)::int FROM outbox)
         + (SELECT count(*)::int FROM processed_messages) AS rows`;
/** The tables in which a charge and its sweep leave dead rows. */
const TABLES = 'charges, processed_requests, outbox, processed_messages';

/** The processes of the service: two serve charges, with the simulated bank and with a bank over HTTP, and two work in the background. */
type Role = 'simulated' | 'atBank' | 'relay' | 'sweeper';

/** Measures each operation of one tree once, with new processes and a new database. */
export class Round {
  private jobs = 0;

  private constructor(
    private readonly database: BenchDatabase,
    private readonly load: Worker<LoadJob>,
    private readonly plan: RoundPlan,
    private readonly meter: Meter,
    private readonly bank: Program,
    private readonly replicas: Record<Role, Replica>,
  ) {}

  /** @param database is empty */
  static async start(
    server: BenchServer,
    load: Worker<LoadJob>,
    tree: Tree,
    database: BenchDatabase,
    plan: RoundPlan,
  ): Promise<Round> {
    const bank = startModule('bench/budget/bank.js');
    const bankUrl = await bank.message((report: BankReport) => (report.kind === 'serves' ? report.url : undefined));
    // The first process migrates the database. Each tree has its own migrations.
    const simulated = await Replica.start(tree, database.url);
    await database.stockUp();
    await database.sql('CREATE EXTENSION pg_walinspect');
    const meter = await Meter.of(server, database, plan.statisticsMs);
    const replicas = {
      simulated,
      atBank: await Replica.start(tree, database.url, { GATEWAY_URL: bankUrl }),
      relay: await Replica.start(tree, database.url, RELAY),
      sweeper: await Replica.start(tree, database.url, SWEEPER),
    };
    for (const replica of Object.values(replicas)) await meter.stop(replica);
    return new Round(database, load, plan, meter, bank, replicas);
  }

  async end(): Promise<void> {
    await Promise.all([...Object.values(this.replicas).map((replica) => replica.end()), this.bank.end()]);
  }

  /** @throws Error if an operation did not have exactly its effects */
  async measure(onOperation: (operation: Operation) => void): Promise<Record<Operation, Reading>> {
    const { requests, loneRequests } = this.plan;
    await this.warmUp();
    const readings: Partial<Record<Operation, Reading>> = {};
    const operations: Record<Operation, () => Promise<Reading>> = {
      charge: () => this.readCharges('simulated', requests, CONNECTIONS),
      message: () => this.readMessages(),
      sweep: () => this.readSweep(),
      loneCharge: () => this.readCharges('simulated', loneRequests, 1),
      chargeAtBank: () => this.readCharges('atBank', requests, CONNECTIONS),
      loneChargeAtBank: () => this.readCharges('atBank', loneRequests, 1),
      replay: () => this.readReplays(),
      order: () => this.readOrders(),
    };
    for (const [operation, read] of Object.entries(operations) as [Operation, () => Promise<Reading>][]) {
      onOperation(operation);
      readings[operation] = await read();
    }
    return readings as Record<Operation, Reading>;
  }

  private async warmUp(): Promise<void> {
    const { warmUp, loneWarmUp } = this.plan;
    for (const role of ['simulated', 'atBank'] as const) {
      await this.send(role, this.fresh(warmUp, CONNECTIONS));
      await this.send(role, this.fresh(loneWarmUp, 1));
    }
    await this.send('simulated', this.fresh(warmUp, CONNECTIONS, 'order'));
    await this.send('simulated', this.replays(warmUp));
    // The planner gets statistics of full tables, as it has them in production.
    await this.database.sql('ANALYZE');
    await this.meter.run(this.replicas.relay, () => this.delivered());
    await this.meter.run(this.replicas.sweeper, () => this.swept());
    await this.vacuumed();
  }

  private async readCharges(role: 'simulated' | 'atBank', requests: number, connections: number): Promise<Reading> {
    const before = await this.effects();
    const reading = await this.read(role, requests, (count) => this.fresh(count, connections));
    const made = requests + this.plan.reconnecting;
    await this.expect(before, { charges: made, captures: made, keys: made });
    return reading;
  }

  private async readReplays(): Promise<Reading> {
    await this.send('simulated', this.replays(KNOWN_KEYS));
    const before = await this.effects();
    const reading = await this.read('simulated', this.plan.requests, (count) => this.replays(count));
    await this.expect(before, {});
    return reading;
  }

  private async readOrders(): Promise<Reading> {
    const { requests, reconnecting } = this.plan;
    const before = await this.effects();
    const reading = await this.read('simulated', requests, (count) => this.fresh(count, CONNECTIONS, 'order'));
    const made = requests + reconnecting;
    await this.expect(before, { orders: made, stock: -made, keys: made });
    return reading;
  }

  /** Measures the delivery of the messages of all charges so far. */
  private async readMessages(): Promise<Reading> {
    const before = await this.effects();
    const requests = before.charges - before.balance / AMOUNT;
    const reading = await this.meter.read(this.replicas.relay, { requests, send: () => this.delivered() });
    await this.expect(before, { balance: requests * AMOUNT });
    return reading;
  }

  /** Measures the deletion of the keys of all charges so far, and of their messages. */
  private async readSweep(): Promise<Reading> {
    const before = await this.effects();
    const requests = before.keys;
    const send = async () => {
      await this.swept();
      await this.vacuumed();
    };
    const reading = await this.meter.read(this.replicas.sweeper, { requests, send });
    await this.expect(before, { keys: -requests });
    return reading;
  }

  private async delivered(): Promise<void> {
    const { succeeded } = await countEffects(this.database.sql);
    await until(
      'all messages are delivered',
      async () => (await this.database.row<{ balance: number }>(BALANCE)).balance === succeeded * AMOUNT,
    );
  }

  /** Uses a new connection, because the processor time of the usual connections of the benchmark is left out. */
  private vacuumed(): Promise<void> {
    return this.database.onNewConnection(`VACUUM ${TABLES}`);
  }

  private swept(): Promise<void> {
    return until(
      'all keys and messages are swept',
      async () => (await this.database.row<{ rows: number }>(COUNT_SWEPT)).rows === 0,
    );
  }

  private read(role: Role, requests: number, jobOf: (requests: number) => Job): Promise<Reading> {
    const loadOf = (count: number): Load => ({ requests: count, send: () => this.answered(role, jobOf(count)) });
    return this.meter.read(this.replicas[role], loadOf(requests), loadOf(this.plan.reconnecting));
  }

  private send(role: Role, job: Job): Promise<void> {
    return this.meter.run(this.replicas[role], () => this.answered(role, job));
  }

  private async answered(role: Role, job: Job): Promise<void> {
    const { url } = this.replicas[role];
    const measured = await this.load.run({ ...job, url }, () => undefined);
    await checkHonesty({ effects: 'each', keyed: true }, measured);
  }

  private fresh(requests: number, connections: number, operation: Job['operation'] = 'charge'): Job {
    return { operation, keys: { kind: 'fresh', prefix: `budget-${++this.jobs}` }, connections, until: { requests } };
  }

  /** Charges whose keys repeat. */
  private replays(requests: number): Job {
    const keys = { kind: 'known', prefix: 'budget-known', count: KNOWN_KEYS } as const;
    return { keys, connections: CONNECTIONS, until: { requests } };
  }

  private async effects(): Promise<Effects> {
    const { succeeded: charges, completed: keys, captures } = await countEffects(this.database.sql);
    const others = await this.database.row<Pick<Effects, 'orders' | 'stock' | 'balance'>>(COUNT);
    return { charges, keys, captures: captures + (await this.capturesOfBank()), ...others };
  }

  private capturesOfBank(): Promise<number> {
    const answer = this.bank.message((report: BankReport) =>
      report.kind === 'captures' ? report.captures : undefined,
    );
    this.bank.child.send({});
    return answer;
  }

  /** @throws Error if the effects have not grown by exactly these numbers. An effect that is not given must not have grown */
  private async expect(before: Effects, growth: Partial<Effects>): Promise<void> {
    const after = await this.effects();
    const wrong = (Object.keys(before) as (keyof Effects)[]).filter(
      (name) => after[name] - before[name] !== (growth[name] ?? 0),
    );
    if (wrong.length === 0) return;
    const texts = wrong.map((name) => `${name} ${before[name]} → ${after[name]}, expected ${growth[name] ?? 0} more`);
    throw new Error(texts.join('; '));
  }
}
