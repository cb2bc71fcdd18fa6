import { type ChildProcess, fork } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Program } from '../../harness/processes.js';
import type { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import type { ProxyFault } from '../../harness/proxy.js';
import type { BankFault, BankOrder, BankReport } from './bank.js';
import { ObservedDatabase } from './database-state.js';
import type { Evidence, JournalEntry, Snapshot } from './evidence.js';
import { STOP_CASES, type StopCase } from './fail-points.js';
import { History } from './history.js';
import { ITEMS } from './operations.js';
import { ACCOUNTS, ChaosReplica } from './replicas.js';
import { GATEWAY_TIMEOUT_MS } from './timing.js';

const INITIAL_STOCK = 1_000_000;
const LOOK_INTERVAL_MS = 50;

export interface ArenaSettings {
  postgres: EmbeddedPostgres;
  /** The name of a database that there is not yet. */
  name: string;
  /** Where the service that is tested was built: this one, or one with a planted bug. */
  build: string;
  replicas: number;
  /** For history, journal and logs. */
  directory: string;
}

/** Everything that a run is about: a database, a bank, and replicas between them. The database server is shared. */
export class Arena {
  /** Hears of each fault that landed at the bank or in a proxy. */
  onLanded: (kind: BankFault | ProxyFault, replica?: ChaosReplica) => void = () => undefined;
  readonly replicas: ChaosReplica[] = [];
  /** Where processes are stopped, and how. */
  stops: readonly StopCase[] = STOP_CASES;

  private constructor(
    readonly postgres: EmbeddedPostgres,
    readonly database: ObservedDatabase,
    readonly history: History,
    readonly directory: string,
    private readonly bank: Program,
  ) {}

  static async start({ postgres, name, build, replicas, directory }: ArenaSettings): Promise<Arena> {
    // What an earlier run with this seed has left would mix with this one's.
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
    const bank = startBank(journal);
    const port = await bankPort(bank);
    const arena = new Arena(postgres, database, new History(join(directory, 'history.jsonl')), directory, bank);
    bank.child.on('message', (report: BankReport) => 'landed' in report && arena.onLanded(report.landed));
    const started = await Promise.all(
      Array.from({ length: replicas }, async (_, i) => {
        const replica: ChaosReplica = await ChaosReplica.start({
          number: i + 1,
          databaseUrl: url.href,
          gatewayPort: port,
          build,
          directory,
          onProxyFault: (fault) => arena.onLanded(fault, replica),
        });
        return replica;
      }),
    );
    arena.replicas.push(...started);
    return arena;
  }

  /** Has the bank misbehave until told otherwise. */
  orderBank(fault: BankFault | undefined): void {
    this.bank.child.send({ fault } satisfies BankOrder);
  }

  /**
   * Waits until nothing is under way any more. What stands still, the checker finds.
   *
   * @param patienceMs without any progress, after which none is expected
   */
  async quiescence(patienceMs: number): Promise<void> {
    let [left, quiet, movedAt] = [Infinity, 0, performance.now()];
    while (quiet < 2 && performance.now() < movedAt + patienceMs) {
      const now = await this.database.unfinished();
      if (now !== left) movedAt = performance.now();
      left = now;
      quiet = left === 0 ? quiet + 1 : 0;
      await pause(LOOK_INTERVAL_MS);
    }
  }

  /**
   * Reads the database and the journal.
   *
   * @param moment names the file in which that is kept
   * @returns nothing, where it cannot be read: the verdict is unknown then
   */
  read(moment: string): Promise<Snapshot | undefined> {
    return this.snapshot(moment).catch(() => undefined);
  }

  /** All that a verdict is made of; to be asked for when whatever was killed runs again. */
  evidence(healed: Snapshot | undefined, end: Snapshot | undefined, faults: readonly string[]): Evidence {
    const crashed = this.replicas.filter(({ runs }) => !runs).map(({ number }) => number);
    return { history: this.history.events, healed, end, crashed, faults, initialStock: INITIAL_STOCK };
  }

  private async snapshot(moment: string): Promise<Snapshot> {
    const lines = readFileSync(join(this.directory, 'journal.jsonl'), 'utf8').split('\n').filter(Boolean);
    const journal = lines.map((line) => JSON.parse(line) as JournalEntry);
    const snapshot = { database: await this.database.read(), journal };
    writeFileSync(join(this.directory, `${moment}.json`), JSON.stringify(snapshot));
    return snapshot;
  }

  async end(): Promise<void> {
    await Promise.all([this.bank.end(), ...this.replicas.map((replica) => replica.end())]);
  }
}

/** Of the build that is tested: a planted bug may be in a migration. */
interface Migration {
  migrate(url: string): Promise<unknown>;
}

const STOCK_UP = `
  INSERT INTO inventory (account_id, item_id, stock)
  SELECT account, item, $3 FROM unnest($1::text[]) AS account, unnest($2::text[]) AS item`;

function startBank(journal: string): Program {
  const path = fileURLToPath(new URL('./bank.js', import.meta.url));
  const child: ChildProcess = fork(path, [journal, String(1.5 * GATEWAY_TIMEOUT_MS)], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  return new Program('the bank', child);
}

const bankPort = (bank: Program) =>
  bank.expect<number>((settle) => {
    const hear = (report: BankReport) => 'port' in report && settle(report.port);
    bank.child.on('message', hear);
    return () => bank.child.off('message', hear);
  });
