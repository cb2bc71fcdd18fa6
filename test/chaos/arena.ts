import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Program } from '../../harness/processes.js';
import type { ProxyFault } from '../../harness/proxy.js';
import type { BankFault, BankCommand, BankReport } from './bank.js';
import type { Bus } from './bus.js';
import { Courier } from './courier.js';
import type { Database } from './database.js';
import { ObservedDatabase } from './database-state.js';
import { type Evidence, readJournal, type Snapshot } from './evidence.js';
import { STOP_CASES, type StopCase } from './fail-points.js';
import { History } from './history.js';
import { ITEMS } from './operations.js';
import { Person } from './person.js';
import { ACCOUNTS, ChaosReplica, SETTINGS } from './replicas.js';
import { GATEWAY_TIMEOUT_MS, KEY_LIFE_MS } from './timing.js';

const INITIAL_STOCK = 1_000_000;
const LOOK_INTERVAL_MS = 50;

export interface ArenaSettings {
  postgres: Database;
  /** Default: messages stay within the processes. */
  bus?: Bus | undefined;
  /** The name of the database that is created. */
  name: string;
  /** The build folder of the service: the real one, or one with a planted bug. */
  build: string;
  replicas: number;
  /** Number of replicas, from the first one, that use the plain committer. Default: 0. */
  plainReplicas?: number;
  /** The directory for history, journal and logs. */
  directory: string;
}

/** The system under test: a database, a bank, and replicas of the service. Arenas share the database server or the cluster of servers. */
export class Arena {
  /** Called for each fault that landed at the bank or in a proxy. */
  onLanded: (kind: BankFault | ProxyFault, replica?: ChaosReplica) => void = () => undefined;
  readonly replicas: ChaosReplica[] = [];
  readonly courier = new Courier(this.replicas);
  /** The steps at which processes are stopped, and how. */
  stops: readonly StopCase[] = STOP_CASES;

  private constructor(
    readonly postgres: Database,
    readonly database: ObservedDatabase,
    readonly history: History,
    readonly directory: string,
    private readonly bank: Program,
    private readonly person: Person,
    readonly bus: Bus | undefined,
  ) {}

  static async start({
    postgres,
    bus,
    name,
    build,
    replicas,
    plainReplicas = 0,
    directory,
  }: ArenaSettings): Promise<Arena> {
    // Files of an earlier run with this seed would mix with the files of this run.
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(directory, { recursive: true });
    const journal = join(directory, 'journal.jsonl');
    writeFileSync(journal, '');
    const url = new URL(postgres.url);
    await new ObservedDatabase(url.href).query(`CREATE DATABASE ${name}`);
    url.pathname = `/${name}`;
    const { migrate } = (await import(join(resolve(build), 'src/database/migrate.js'))) as Migration;
    await migrate(url.href);
    const database = new ObservedDatabase(url.href);
    await database.watch();
    await database.query(STOCK_UP, [ACCOUNTS, ITEMS, INITIAL_STOCK]);
    const bank = startBank(journal, KEY_LIFE_MS);
    const port = await bank.message((report: BankReport) => ('port' in report ? report.port : undefined));
    const history = new History(join(directory, 'history.jsonl'));
    const environment = {
      ...SETTINGS,
      ...bus?.settings,
      DATABASE_URL: url.href,
      GATEWAY_URL: `http://127.0.0.1:${port}`,
    };
    const person = new Person({ database, directory, build, environment });
    const arena = new Arena(postgres, database, history, directory, bank, person, bus);
    bank.child.on('message', (report: BankReport) => {
      if ('landed' in report) arena.onLanded(report.landed);
      else if ('decided' in report) arena.courier.report(report.decided, report.eventAfterMs);
    });
    const started = await Promise.all(
      Array.from({ length: replicas }, async (_, i) => {
        const replica: ChaosReplica = await ChaosReplica.start({
          number: i + 1,
          isPlain: i < plainReplicas,
          databaseUrl: url.href,
          gatewayPort: port,
          build,
          directory,
          environment: bus?.settings ?? {},
          onProxyFault: (fault) => arena.onLanded(fault, replica),
        });
        return replica;
      }),
    );
    arena.replicas.push(...started);
    return arena;
  }

  /** Makes the bank misbehave until the next call. `undefined` makes the bank behave correctly again. */
  setBankFault(fault: BankFault | undefined): void {
    this.bank.child.send({ fault } satisfies BankCommand);
  }

  /**
   * Waits until nothing is in flight. The checker reports work that makes no progress.
   *
   * @param patienceMs how long to wait without any progress before giving up
   */
  async quiescence(patienceMs: number): Promise<void> {
    let [left, quiet, movedAt] = [Infinity, 0, performance.now()];
    while (quiet < 2 && performance.now() < movedAt + patienceMs) {
      // A database that does not answer in time is not a sign of progress.
      const now = this.courier.pending + (await this.database.unfinished().catch(() => left - this.courier.pending));
      if (now !== left) movedAt = performance.now();
      left = now;
      quiet = left === 0 ? quiet + 1 : 0;
      await pause(LOOK_INTERVAL_MS);
    }
  }

  /**
   * Reads the database and the journal.
   *
   * @param moment the name of the file that stores the snapshot
   * @returns undefined if either cannot be read. The verdict is unknown then.
   */
  read(moment: string): Promise<Snapshot | undefined> {
    return this.snapshot(moment).catch(() => undefined);
  }

  /** Everything that the verdict depends on. Call this when all killed replicas run again, because a replica that does not run counts as crashed. */
  evidence(healed: Snapshot | undefined, end: Snapshot | undefined, faults: readonly string[]): Evidence {
    const crashed = this.replicas.filter(({ runs }) => !runs).map(({ number }) => number);
    return {
      history: this.history.events,
      healed,
      end,
      crashed,
      faults,
      initialStock: INITIAL_STOCK,
      hasBroker: this.bus !== undefined,
      isReported: true,
    };
  }

  private async snapshot(moment: string): Promise<Snapshot> {
    const journal = readJournal(this.directory);
    const snapshot = { database: await this.database.read(), journal };
    writeFileSync(join(this.directory, `${moment}.json`), JSON.stringify(snapshot));
    return snapshot;
  }

  async end(): Promise<void> {
    this.courier.end();
    await this.person.end();
    await Promise.all([this.bank.end(), ...this.replicas.map((replica) => replica.end())]);
  }
}

/** The migrations of the build under test, because a planted bug may be in a migration. */
interface Migration {
  migrate(url: string): Promise<unknown>;
}

const STOCK_UP = `
  INSERT INTO inventory (account_id, item_id, stock)
  SELECT account, item, $3 FROM unnest($1::text[]) AS account, unnest($2::text[]) AS item`;

/** Starts a bank that writes its decisions to a journal. Its first message names its port. */
export const startBank = (journal: string, keyLifeMs: number): Program =>
  Program.start(fileURLToPath(new URL('./bank.js', import.meta.url)), {
    name: 'the bank',
    args: [journal, String(1.5 * GATEWAY_TIMEOUT_MS), String(keyLifeMs)],
    channels: ['ipc'],
  });
