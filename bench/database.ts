import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client, type QueryResultRow } from 'pg';
import { DEMO_ACCOUNT } from '../src/accounts/api-keys.js';
import { EmbeddedPostgres } from '../src/database/embedded/embedded-postgres.js';
import { migrate } from '../src/database/migrate.js';
import { endProcesses } from '../harness/processes.js';

/** A lease of the service, and then some: by then recovery has finished what its client gave up. */
const QUIESCENCE_TIMEOUT_MS = 60_000;
const LOOK_INTERVAL_MS = 50;
/** Of each of so many items: more than is ever ordered. */
const STOCK = 1_000_000;
const ITEMS = 100;
const STOCK_UP = `
  INSERT INTO inventory (account_id, item_id, stock)
  SELECT $1, 'item_' || lpad(n::text, 2, '0'), $3 FROM generate_series(0, $2 - 1) AS n`;
/** The tables that relay and consumers write, as a pattern for their statements. */
const OF_MESSAGES = 'outbox|processed_messages|balances';
const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** Everything that happened in a database so far, counted. */
export interface Effects {
  succeeded: number;
  /** Charges neither succeeded nor failed. */
  pending: number;
  captures: number;
  /** Keys with a reply, without those that were seeded. */
  completed: number;
  /** Orders, each of one piece, and pieces that are gone. */
  orders: number;
  taken: number;
  /** Keys without a reply. */
  unfinished: number;
  /** Messages appended to the outbox. */
  told: number;
  /** Those of them that are not published. */
  unpublished: number;
}

/** A database of one contender, seen by the harness on a connection of its own. */
export class BenchDatabase {
  private countFrom = '-infinity';

  constructor(
    readonly url: string,
    private readonly name: string,
    private readonly client: Client,
    private readonly admin: Client,
  ) {}

  async sql<Row extends QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
    return (await this.client.query<Row>(text, values)).rows;
  }

  async effects(): Promise<Effects> {
    const [row] = await this.sql<Effects & QueryResultRow>(
      `
      SELECT (SELECT count(*)::int FROM charges WHERE status = 'succeeded') AS succeeded,
             (SELECT count(*)::int FROM charges WHERE status = 'pending') AS pending,
             (SELECT count(*)::int FROM bank.captures) AS captures,
             (SELECT count(*)::int FROM processed_requests
              WHERE completed_at IS NOT NULL AND created_at > $1::timestamptz) AS completed,
             (SELECT count(*)::int FROM processed_requests WHERE completed_at IS NULL) AS unfinished,
             (SELECT count(*)::int FROM orders) AS orders,
             (SELECT sum($2 - stock)::int FROM inventory) AS taken,
             (SELECT count(*)::int FROM outbox) AS told,
             (SELECT count(*)::int FROM outbox WHERE published_at IS NULL) AS unpublished`,
      [this.countFrom, STOCK],
    );
    if (!row) throw new Error('A SELECT without FROM returned no row');
    return row;
  }

  /** Leaves the keys of now out of the effects: to count millions each time would disturb what is measured. */
  async countKeysFromNow(): Promise<void> {
    const [row] = await this.sql<{ now: string }>('SELECT clock_timestamp()::text AS now');
    this.countFrom = row?.now ?? this.countFrom;
  }

  /** The connections, but for the harness's own, that are in a statement or a transaction now. */
  busyConnections(): Promise<number> {
    return this.connectionsAtWork();
  }

  /** The same, without those that carry messages, which nobody who waits for an answer holds. */
  connectionsOfRequests(): Promise<number> {
    return this.connectionsAtWork(OF_MESSAGES);
  }

  /** @param leftOut a pattern that a connection's last statement must not match */
  private async connectionsAtWork(leftOut = '^$'): Promise<number> {
    const { rows } = await this.admin.query<{ count: number }>(
      `SELECT count(*)::int FROM pg_stat_activity
       WHERE datname = $1 AND backend_type = 'client backend' AND state <> 'idle' AND query !~ $2`,
      [this.name, leftOut],
    );
    return rows[0]?.count ?? 0;
  }

  /**
   * Waits until everything that was started has ended, also what a client has left before its answer.
   *
   * @throws Error when something is still unfinished after a minute
   */
  async quiescence(): Promise<void> {
    const deadline = performance.now() + QUIESCENCE_TIMEOUT_MS;
    for (let quietLooks = 0; quietLooks < 2;) {
      const { pending, unfinished, unpublished } = await this.effects();
      // Twice in a row: between two statements of a request, a connection is idle for a moment.
      quietLooks = pending + unfinished + unpublished + (await this.busyConnections()) === 0 ? quietLooks + 1 : 0;
      if (performance.now() > deadline) {
        throw new Error(
          `${this.name}: ${pending} charges and ${unfinished} keys are unfinished a minute later, ${unpublished} messages unpublished`,
        );
      }
      await pause(LOOK_INTERVAL_MS);
    }
  }
}

/** A durable PostgreSQL of the benchmark's own. */
export class BenchServer {
  private constructor(
    readonly directory: string,
    private readonly url: string,
    readonly admin: Client,
    private readonly stopPostgres: () => Promise<void>,
  ) {}

  private readonly clients: Client[] = [];

  /** Starts it in a new temporary directory, which goes when this process does. */
  static async start(): Promise<BenchServer> {
    const directory = await mkdtemp(join(tmpdir(), 'payments-bench-'));
    const postgres = await EmbeddedPostgres.start({ directory, durable: true, throwaway: true });
    await migrate(postgres.url);
    const admin = await connect(at(postgres.url, 'postgres'));
    return new BenchServer(directory, postgres.url, admin, () => postgres.stop());
  }

  /** A migrated database. */
  async createDatabase(name: string): Promise<BenchDatabase> {
    await this.admin.query(`CREATE DATABASE ${name} TEMPLATE ${new URL(this.url).pathname.slice(1)}`);
    const url = at(this.url, name);
    const client = await connect(url);
    this.clients.push(client);
    await client.query(STOCK_UP, [DEMO_ACCOUNT, ITEMS, STOCK]);
    return new BenchDatabase(url, name, client, this.admin);
  }

  /** Writes what earlier work has left in memory, so that no measurement pays for another's writes. */
  async checkpoint(): Promise<void> {
    await this.admin.query('CHECKPOINT');
  }

  async stop(): Promise<void> {
    await Promise.all([this.admin, ...this.clients].map((client) => client.end()));
    await this.stopPostgres();
  }
}

/**
 * Gives `work` a server, and takes everything down again, however it ends: done, failed, or by Ctrl-C. What not even
 * that reaches, the guard of the embedded PostgreSQL removes once this process is gone. Then it ends this process,
 * with 1 and the reason when `work` failed.
 */
export async function withServer(work: (server: BenchServer) => Promise<void>): Promise<never> {
  let server: BenchServer | undefined;
  let ended: Promise<void> | undefined;
  const end = () => (ended ??= endProcesses().then(() => server?.stop()));
  let exitCode = 0;
  for (const [signal, code] of Object.entries(SIGNAL_EXIT_CODES)) {
    process.once(signal, () => void end().finally(() => process.exit(code)));
  }
  try {
    server = await BenchServer.start();
    await work(server);
  } catch (error) {
    // Not a failure, if it is only that everything was taken away from it.
    if (!ended) process.stderr.write(`\nThe benchmark failed: ${(error as Error).message}\n`);
    exitCode = 1;
  }
  await end();
  process.exit(exitCode);
}

function at(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${database}`;
  return other.href;
}

async function connect(url: string): Promise<Client> {
  const client = new Client({ connectionString: url });
  // A query that fails says so itself.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
