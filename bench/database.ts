import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client, type QueryResultRow } from 'pg';
import { DEMO_ACCOUNT } from '../src/accounts/api-keys.js';
import { EmbeddedPostgres } from '../src/database/embedded/embedded-postgres.js';
import { migrate } from '../src/database/migrate.js';
import { countEffects, type Effects } from '../harness/effects.js';
import { endProcesses } from '../harness/processes.js';
import { RedisServer } from '../harness/redis.js';

/** Longer than a lease of the service, so that recovery has finished the requests that their clients gave up. */
const QUIESCENCE_TIMEOUT_MS = 60_000;
const LOOK_INTERVAL_MS = 50;
/** Stock of each item: more than the benchmark ever orders. */
const STOCK = 1_000_000;
const ITEMS = 100;
const STOCK_UP = `
  INSERT INTO inventory (account_id, item_id, stock)
  SELECT $1, 'item_' || lpad(n::text, 2, '0'), $3 FROM generate_series(0, $2 - 1) AS n`;
/** The settings in the configuration file that comes with Redis: snapshots on disk, and no log of each write. */
const REDIS_DEFAULTS = ['--appendonly', 'no', '--save', '3600 1 300 100 60 10000'];
/**
 * Matches the statements of the relay, of the consumers and of the recovery. All of them begin their transactions with a BEGIN whose answer they await,
 * but a group of requests sends its first statement at once, so its BEGIN is never its last statement.
 */
const IN_BACKGROUND = '^BEGIN|lock_timeout|outbox|processed_messages|balances|WITH RECURSIVE turn';
const BACKEND = 'SELECT pg_backend_pid() AS pid';
const SIGNAL_EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** The counts of all effects in a database so far. Completed keys that were seeded are not included. */
export interface AllEffects extends Effects {
  /** Orders. Each order of the benchmark is for one piece. */
  orders: number;
  /** Pieces taken from stock. */
  taken: number;
  /** The sum of the amounts of all charges that have succeeded. */
  charged: number;
  /** The sum of the amounts in all messages: those that have reached the balance, and those that are still in the outbox. */
  announced: number;
}

const COUNT_ORDERS_AND_MESSAGES = `
  SELECT (SELECT count(*)::int FROM orders) AS orders,
         (SELECT sum($1 - stock)::int FROM inventory) AS taken,
         (SELECT coalesce(sum(amount), 0)::float8 FROM charges WHERE status = 'succeeded') AS charged,
         (SELECT coalesce(sum(amount), 0)::float8 FROM balances)
         + (SELECT coalesce(sum((data->>'amount')::integer), 0)::float8 FROM outbox
            WHERE (account_id, 'balance', id) NOT IN (SELECT account_id, consumer, message_id FROM processed_messages))
           AS announced`;

/** The work that is still to be done in a database. */
type Unfinished = Record<'pending' | 'in_progress' | 'unpublished', number>;

const COUNT_UNFINISHED = `
  SELECT (SELECT count(*)::int FROM charges WHERE status = 'pending') AS pending,
         (SELECT count(*)::int FROM processed_requests WHERE completed_at IS NULL) AS in_progress,
         (SELECT count(*)::int FROM outbox WHERE published_at IS NULL) AS unpublished`;

/** A database of one contender, read by the benchmark on a connection of its own. */
export class BenchDatabase {
  private completedSince = '-infinity';

  constructor(
    readonly url: string,
    private readonly name: string,
    private readonly client: Client,
    private readonly admin: Client,
  ) {}

  readonly sql = async <Row extends QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> =>
    (await this.client.query<Row>(text, values)).rows;

  /** The only row that a query has. */
  async row<Row extends QueryResultRow>(text: string): Promise<Row> {
    const [row] = await this.sql<Row>(text);
    if (!row) throw new Error(`No row: ${text}`);
    return row;
  }

  /** Runs a statement on a new connection, and then closes the connection. */
  async onNewConnection(text: string): Promise<void> {
    const client = await connect(this.url);
    await client.query(text).finally(() => client.end());
  }

  /** The process id of the backend that serves {@link sql}. */
  async backendPid(): Promise<number> {
    return (await this.row<{ pid: number }>(BACKEND)).pid;
  }

  async stockUp(): Promise<void> {
    await this.sql(STOCK_UP, [DEMO_ACCOUNT, ITEMS, STOCK]);
  }

  async effects(): Promise<AllEffects> {
    const effects = await countEffects(this.sql, { completedSince: this.completedSince });
    const [others] = await this.sql<Omit<AllEffects, keyof Effects>>(COUNT_ORDERS_AND_MESSAGES, [STOCK]);
    return { ...effects, ...(others as Omit<AllEffects, keyof Effects>) };
  }

  /** The effects of one account. */
  effectsOf(accountId: string): Promise<Effects> {
    return countEffects(this.sql, { accountId, completedSince: this.completedSince });
  }

  /** Leaves the keys that are completed now out of the effects, because counting millions each time would disturb the measurement. */
  async countKeysFromNow(): Promise<void> {
    const [row] = await this.sql<{ now: string }>('SELECT clock_timestamp()::text AS now');
    this.completedSince = row?.now ?? this.completedSince;
  }

  /** How many connections of the contender are in a statement or a transaction now, without those that work in the background. */
  connectionsOfRequests(): Promise<number> {
    return this.busyConnections(IN_BACKGROUND);
  }

  /** @param leftOut leaves out connections whose last statement matches this pattern */
  private async busyConnections(leftOut = '^$'): Promise<number> {
    const { rows } = await this.admin.query<{ count: number }>(
      `SELECT count(*)::int FROM pg_stat_activity
       WHERE datname = $1 AND backend_type = 'client backend' AND state <> 'idle' AND query !~ $2`,
      [this.name, leftOut],
    );
    return rows[0]?.count ?? 0;
  }

  /**
   * Waits until no connection is in a statement or a transaction.
   *
   * @throws Error if a connection is still busy after a minute
   */
  async idleness(): Promise<void> {
    await this.untilQuiet(async () => ({ connections: await this.busyConnections() }));
  }

  /**
   * Waits until nothing is in flight, including requests whose clients hung up.
   *
   * @throws Error if something is still unfinished after a minute
   */
  async quiescence(): Promise<void> {
    await this.untilQuiet(async () => ({
      ...(await this.row<Unfinished>(COUNT_UNFINISHED)),
      connections: await this.busyConnections(),
    }));
  }

  /**
   * Looks until everything is finished twice in a row, because a connection is idle for a moment between two statements of a request.
   *
   * @param unfinished counts what is unfinished
   */
  private async untilQuiet(unfinished: () => Promise<Record<string, number>>): Promise<void> {
    const deadline = performance.now() + QUIESCENCE_TIMEOUT_MS;
    for (let quietLooks = 0; quietLooks < 2;) {
      const counts = await unfinished();
      quietLooks = Object.values(counts).every((count) => count === 0) ? quietLooks + 1 : 0;
      if (performance.now() > deadline) {
        throw new Error(`${this.name}: still unfinished after a minute of waiting: ${JSON.stringify(counts)}`);
      }
      await pause(LOOK_INTERVAL_MS);
    }
  }
}

/** A durable PostgreSQL that only the benchmark uses. */
export class BenchServer {
  private constructor(
    readonly directory: string,
    private readonly url: string,
    readonly admin: Client,
    private readonly stopPostgres: () => Promise<void>,
  ) {}

  private readonly clients: Client[] = [];
  private redis: Promise<RedisServer> | undefined;

  /** Starts PostgreSQL in a new temporary directory, which is removed when this process ends. */
  static async start(): Promise<BenchServer> {
    const directory = await mkdtemp(join(tmpdir(), 'payments-bench-'));
    const postgres = await EmbeddedPostgres.start({ directory, durable: true, throwaway: true });
    await migrate(postgres.url);
    const admin = await connect(at(postgres.url, 'postgres'));
    return new BenchServer(directory, postgres.url, admin, () => postgres.stop());
  }

  /** Creates a migrated database with stock. */
  async createDatabase(name: string): Promise<BenchDatabase> {
    const database = await this.create(name, new URL(this.url).pathname.slice(1));
    await database.stockUp();
    return database;
  }

  /** Creates a database without tables, for a service that brings migrations of its own. */
  createEmptyDatabase(name: string): Promise<BenchDatabase> {
    return this.create(name, 'template1');
  }

  /** Creates a database. Its name gets a number, because a later part of a run may use the same name. */
  private async create(prefix: string, template: string): Promise<BenchDatabase> {
    const name = `${prefix}_${this.clients.length}`;
    await this.admin.query(`CREATE DATABASE ${name} TEMPLATE ${template}`);
    const url = at(this.url, name);
    const client = await connect(url);
    this.clients.push(client);
    return new BenchDatabase(url, name, client, this.admin);
  }

  /**
   * The URL of a database in a Redis that only the benchmark uses. The first call starts it.
   *
   * @param number of the database, from 0 to 15
   * @throws Error if `redis-server` is not installed
   */
  async redisUrl(number: number): Promise<string> {
    this.redis ??= RedisServer.start('redis-server', REDIS_DEFAULTS);
    return `${(await this.redis).url}/${number}`;
  }

  /** Changes settings of the server. All settings that are not given are as at its start. */
  async configure(settings: Record<string, string>): Promise<void> {
    await this.admin.query('ALTER SYSTEM RESET ALL');
    for (const [name, value] of Object.entries(settings))
      await this.admin.query(`ALTER SYSTEM SET ${name} = '${value}'`);
    await this.admin.query('SELECT pg_reload_conf()');
  }

  /** The process id of the backend that serves {@link admin}. */
  async backendPid(): Promise<number> {
    return (await this.admin.query<{ pid: number }>(BACKEND)).rows[0]?.pid ?? NaN;
  }

  /** Writes all changed pages to disk, so that no measurement pays for the writes of another one. */
  async checkpoint(): Promise<void> {
    await this.admin.query('CHECKPOINT');
  }

  async stop(): Promise<void> {
    await Promise.all([this.admin, ...this.clients].map((client) => client.end()));
    await this.redis?.then((redis) => redis.stop()).catch(() => undefined);
    await this.stopPostgres();
  }
}

/**
 * Runs `work` with a server, then stops the server and all processes and ends this process: with 0, or with 1 and the reason if `work`
 * failed. Ctrl-C stops everything as well. If this process is killed, the guard of the embedded PostgreSQL removes the database.
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
    // After a signal, `work` fails only because its server was stopped.
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
  // Without a listener a broken connection would end the process. The next query reports the error.
  client.on('error', () => undefined);
  await client.connect();
  return client;
}
