import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { portToKeep } from '../../harness/free-port.js';
import { PostgresNode, until } from '../../harness/postgres-node.js';
import { Program } from '../../harness/processes.js';
import { migrate } from '../../src/database/migrate.js';
import { startBank } from '../chaos/arena.js';
import type { BankReport } from '../chaos/bank.js';
import { ObservedDatabase } from '../chaos/database-state.js';
import { type JournalEntry, readJournal } from '../chaos/evidence.js';
import { ITEMS } from '../chaos/operations.js';
import { secretOf } from '../chaos/replicas.js';

const HAPROXY = '/usr/sbin/haproxy';
const CONFIG = resolve('deploy/cells/haproxy.cfg');
const SERVICE = fileURLToPath(new URL('../../src/main.js', import.meta.url));
const MOVE = fileURLToPath(new URL('../../deploy/cells/move/main.js', import.meta.url));

export const CELLS = ['cell1', 'cell2'] as const;
export type CellName = (typeof CELLS)[number];
/** Half of them live in each cell at first. */
export const ACCOUNTS = Array.from({ length: 12 }, (_, i) => `acct_${String(i + 1).padStart(2, '0')}`);
export const INITIAL_STOCK = 1_000_000;

/** The lease is shorter than the wait of a duplicate. So another replica can answer a request whose replica was killed. */
const SETTINGS = {
  API_KEYS: ACCOUNTS.map((account) => `${account}:${secretOf(account)}`).join(),
  IDEMPOTENCY_LEASE_SECONDS: '4',
  IDEMPOTENCY_WAIT_MS: '7000',
  GATEWAY_TIMEOUT_MS: '3000',
  RECOVERY_INTERVAL_MS: '500',
  LOG_LEVEL: 'error',
};

/** Longer than the suite takes. Its charges are decided while their keys live, as the default of the service says. */
const KEY_LIFE_MS = 86_400_000;

/** A process of the service, which can be killed and started again at the same address. */
export class Replica {
  private program?: Program;

  constructor(
    readonly number: number,
    readonly clientPort: number,
    private readonly env: Record<string, string>,
  ) {}

  get address(): string {
    return `127.0.0.1:${this.clientPort}`;
  }

  get runs(): boolean {
    return this.program?.child.exitCode === null && this.program.child.signalCode === null;
  }

  async start(): Promise<void> {
    this.program = Program.start(SERVICE, {
      name: `replica ${this.number}`,
      env: { ...SETTINGS, ...this.env, PORT: String(this.clientPort) },
    });
    await this.program.served();
  }

  kill(): Promise<void> | undefined {
    return this.program?.end();
  }
}

/** A PostgreSQL and the replicas that use it. */
export interface Cell {
  name: CellName;
  postgres: PostgresNode;
  database: ObservedDatabase;
  replicas: readonly [Replica, Replica];
}

/** Two cells behind HAProxy, and a bank that both use. */
export class World {
  private constructor(
    readonly cells: Readonly<Record<CellName, Cell>>,
    /** HAProxy, as clients see it. */
    readonly router: { number: number; clientPort: number },
    private readonly directory: string,
  ) {}

  static async start(directory: string): Promise<World> {
    if (!existsSync(HAPROXY)) throw new Error(`test:cells needs ${HAPROXY}: apt-get install haproxy`);
    const journal = join(directory, 'journal.jsonl');
    await writeFile(journal, '');
    const bank = startBank(journal, KEY_LIFE_MS);
    const gatewayPort = await bank.message((report: BankReport) => ('port' in report ? report.port : undefined));
    const [cell1, cell2] = await Promise.all(CELLS.map((name, i) => startCell(name, i, directory, gatewayPort)));
    const cells = { cell1: cell1 as Cell, cell2: cell2 as Cell };
    const world = new World(cells, { number: 0, clientPort: await portToKeep() }, directory);
    await world.startRouter();
    await world.fillStock();
    return world;
  }

  get map(): string {
    return join(this.directory, 'cells.map');
  }

  /** Runs `npm run cells:move` without the build. */
  move(account: string, to: CellName): Program {
    return Program.start(MOVE, {
      name: `the move of ${account} to ${to}`,
      args: ['--account', account, '--to', to, '--cells', join(this.directory, 'cells.json')],
    });
  }

  async cellOf(account: string): Promise<CellName> {
    const line = (await readFile(this.map, 'utf8')).split('\n').find((each) => each.startsWith(`${account} `));
    return line?.split(' ')[1] as CellName;
  }

  journal(): JournalEntry[] {
    return readJournal(this.directory);
  }

  async end(): Promise<void> {
    await Promise.all(Object.values(this.cells).map(({ postgres }) => postgres.remove()));
  }

  private async startRouter(): Promise<void> {
    const socket = join(this.directory, 'haproxy.sock');
    const { cell1, cell2 } = this.cells;
    const half = ACCOUNTS.length / 2;
    const lines = (of: (account: string, i: number) => string) => `${ACCOUNTS.map(of).join('\n')}\n`;
    await writeFile(
      join(this.directory, 'keys.map'),
      lines((account) => `${secretOf(account)} ${account}`),
      { mode: 0o600 },
    );
    await writeFile(
      this.map,
      lines((account, i) => `${account} ${i < half ? 'cell1' : 'cell2'}`),
    );
    const databases = {
      cell1: { database: await cell1.postgres.url() },
      cell2: { database: await cell2.postgres.url() },
    };
    const file = { cells: databases, router: { map: this.map, sockets: [socket] } };
    await writeFile(join(this.directory, 'cells.json'), JSON.stringify(file), { mode: 0o600 });
    const haproxy = Program.run(HAPROXY, {
      name: 'HAProxy',
      args: ['-db', '-f', CONFIG],
      env: {
        CELLS_DIR: this.directory,
        ADMIN_SOCKET: socket,
        LISTEN: `127.0.0.1:${this.router.clientPort}`,
        CELL1_A: cell1.replicas[0].address,
        CELL1_B: cell1.replicas[1].address,
        CELL2_A: cell2.replicas[0].address,
        CELL2_B: cell2.replicas[1].address,
      },
    });
    const isUp = async () => existsSync(socket) && (await this.serves('acct_01')) && (await this.serves('acct_12'));
    await Promise.race([
      until('HAProxy serves both cells', isUp),
      haproxy.ended.then((end) => Promise.reject(new Error(`HAProxy ended with ${end}\n${haproxy.output}`))),
    ]);
  }

  /** Whether the cell of the account answers through HAProxy. */
  async serves(account: string): Promise<boolean> {
    const headers = { authorization: `Bearer ${secretOf(account)}` };
    const answer = await fetch(`http://127.0.0.1:${this.router.clientPort}/balance`, { headers }).catch(
      () => undefined,
    );
    return answer?.status === 200;
  }

  private async fillStock(): Promise<void> {
    for (const { name, database } of Object.values(this.cells)) {
      const here = [];
      for (const account of ACCOUNTS) if ((await this.cellOf(account)) === name) here.push(account);
      await database.query(
        `INSERT INTO inventory (account_id, item_id, stock)
         SELECT account, item, $3 FROM unnest($1::text[]) AS account, unnest($2::text[]) AS item`,
        [here, ITEMS, INITIAL_STOCK],
      );
    }
  }
}

async function startCell(name: CellName, index: number, directory: string, gatewayPort: number): Promise<Cell> {
  const postgres = await PostgresNode.create(name, join(directory, name));
  // The only setting that a cell needs besides those of every PostgreSQL. Its change needs a restart.
  await postgres.configure({ wal_level: 'logical' });
  await postgres.start();
  const url = await postgres.url();
  await migrate(url);
  const database = new ObservedDatabase(url);
  await database.watch();
  const env = { DATABASE_URL: url, GATEWAY_URL: `http://127.0.0.1:${gatewayPort}` };
  const numbers = [2 * index + 1, 2 * index + 2];
  const replicas = await Promise.all(numbers.map(async (number) => new Replica(number, await portToKeep(), env)));
  await Promise.all(replicas.map((replica) => replica.start()));
  return { name, postgres, database, replicas: replicas as [Replica, Replica] };
}
