import { type AccountTable, accountTables } from './account-tables.js';
import type { CellDatabase } from './cell-database.js';
import { homeOf } from './guard.js';
import { isPublished, isSubscribed } from './replication.js';
import type { Router } from './router.js';

/** The rest of a move. It depends only on the databases and the router, so running a killed move again resumes it. */
export type Stage =
  /** The account lives in the old cell, and its rows may be on their way. */
  | 'copy'
  /** The account lives in the new cell. Requests may still go to the old cell, which has rows of the account. */
  | 'finish'
  /** Nothing is left to do. */
  | 'done';

export interface Plan {
  account: string;
  from: CellDatabase;
  to: CellDatabase;
  tables: readonly AccountTable[];
  stage: Stage;
  /** Numbers of rows in the old cell, by table. */
  rows: ReadonlyMap<string, number>;
}

/** @throws Error with the reason if the account cannot be moved */
export async function planOf(
  cells: ReadonlyMap<string, CellDatabase>,
  router: Router,
  account: string,
  toName: string,
): Promise<Plan> {
  const to = cells.get(toName);
  if (!to) throw new Error(`--to ${toName}: expected one of ${[...cells.keys()].join(', ')}`);
  const routedTo = await router.cellOf(account);
  const from = await oldCell(cells, account, to, routedTo);
  if (from === to) return { account, from, to, tables: [], stage: 'done', rows: new Map() };
  const home = (await homeOf(from, account)) ?? from.name;
  if (home !== from.name && home !== to.name)
    throw new Error(`${account}: the router's map names ${from.name}, but the account lives in ${home}`);
  const stage = home === to.name ? 'finish' : 'copy';
  const tables = await accountTables(from);
  const rows = new Map<string, number>();
  for (const { name } of tables) {
    const { count } = await from.one<{ count: number }>(
      `SELECT count(*)::int AS count FROM ${name} WHERE account_id = $1`,
      [account],
    );
    rows.set(name, count);
  }
  const plan: Plan = { account, from, to, tables, stage, rows };
  if (stage === 'copy') await checkCells(plan);
  return plan;
}

/** The cell that has to be left: the cell that the router knows or, once the router knows the new cell, the cell that still publishes the account. */
async function oldCell(
  cells: ReadonlyMap<string, CellDatabase>,
  account: string,
  to: CellDatabase,
  routedTo: string | undefined,
): Promise<CellDatabase> {
  if (routedTo === undefined) throw new Error(`${account}: expected a line for this account in the router's map`);
  const routed = cells.get(routedTo);
  if (!routed)
    throw new Error(`${account}: the router's map names ${routedTo}; expected one of ${[...cells.keys()].join(', ')}`);
  for (const cell of cells.values()) {
    if (!(await isPublished(cell, account))) continue;
    if (cell !== to && (cell === routed || routed === to)) return cell;
    throw new Error(`${account}: an earlier move from ${cell.name} is not finished; run the earlier move again first`);
  }
  return routed;
}

async function checkCells({ account, from, to, tables }: Plan): Promise<void> {
  const [ours, theirs] = [await migrationsOf(from), await migrationsOf(to)];
  if (ours !== theirs) throw new Error(`${from.name} and ${to.name} have different migrations: ${ours} and ${theirs}`);
  const { level } = await from.one<{ level: string }>(`SELECT current_setting('wal_level') AS level`);
  if (level !== 'logical') throw new Error(`${from.name}: wal_level is ${level}; expected logical`);
  for (const cell of [from, to]) {
    const { isAllowed } = await cell.one<{ isAllowed: boolean }>(
      'SELECT rolsuper AS "isAllowed" FROM pg_roles WHERE rolname = current_user',
    );
    if (!isAllowed)
      throw new Error(`${cell.name}: expected a superuser, because replication and triggers need its rights`);
  }
  if (await isSubscribed(from, account))
    throw new Error(
      `${account}: ${from.name} still receives the account from an earlier move; finish the earlier move first`,
    );
  if (await isSubscribed(to, account)) return;
  for (const { name } of tables) {
    const [row] = await to.query(`SELECT FROM ${name} WHERE account_id = $1 LIMIT 1`, [account]);
    if (row)
      throw new Error(`${to.name} has rows of ${account} in ${name}, which no move has copied; delete them first`);
  }
}

async function migrationsOf(cell: CellDatabase): Promise<string> {
  const { names } = await cell.one<{ names: string }>(
    `SELECT string_agg(name, ', ' ORDER BY name) AS names FROM migrations`,
  );
  return names;
}
