import { setTimeout as pause } from 'node:timers/promises';
import { ACCOUNT_MOVING, isLockTimeout } from '../../../src/postgres/database-errors.js';
import type { AccountTable } from './account-tables.js';
import { type CellDatabase, literal, type Sql } from './cell-database.js';

/**
 * The guard of a cell: triggers that refuse writes of an account for which the cell is not the home. They exist only in cells from or to which an
 * account was moved, and run only for such accounts.
 *
 * `cells.homes` has the cell in which an account lives. A change of this row is replicated after everything that was committed before. So the commit
 * that changes the row closes the old cell, and the arrival of the row opens the new cell, which then has everything.
 *
 * `cells.watched` has the accounts for which the triggers run here, and the end of the time in which the account may not begin new work. A time
 * that ends by itself opens the account again if the move has been killed. An account that has left was handed over to another cell, with nothing
 * unfinished, and is not on its way back.
 */
const SCHEMA = `
  CREATE SCHEMA IF NOT EXISTS cells;
  CREATE TABLE IF NOT EXISTS cells.homes (account_id text PRIMARY KEY, cell text NOT NULL);
  CREATE TABLE IF NOT EXISTS cells.watched (account_id text PRIMARY KEY, closed_until timestamptz,
    has_left boolean NOT NULL DEFAULT false)`;

/** The first number of the advisory locks of accounts. The service locks keys by one number, and its relays by another first number. */
const LOCK_CLASS = 4_117_204;

// SECURITY DEFINER, because the role of the service has no rights on the schema. Each write of a watched account holds a shared lock until its
// transaction ends, so that `handOver`, which takes the exclusive lock, waits for writes that have passed this check.
const guardOf = (cell: string) => `
  CREATE OR REPLACE FUNCTION cells.guard() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $guard$
  DECLARE
    account text := coalesce(NEW.account_id, OLD.account_id);
    begins boolean := TG_OP = ANY (TG_ARGV[0]::text[]);
    is_home boolean;
    is_closed boolean;
    has_left boolean;
  BEGIN
    PERFORM pg_advisory_xact_lock_shared(${LOCK_CLASS}, hashtext(account));
    SELECT coalesce(h.cell = ${literal(cell)}, false), coalesce(w.closed_until > clock_timestamp(), false), w.has_left
    INTO is_home, is_closed, has_left
    FROM cells.watched AS w LEFT JOIN cells.homes AS h USING (account_id) WHERE w.account_id = account;
    IF NOT FOUND OR is_home AND NOT (is_closed AND begins) THEN
      IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
      RETURN NEW;
    END IF;
    -- A sweep deletes rows of many accounts at once, so a refusal would keep those of all. It ends at a batch with a row that was skipped. A later
    -- sweep goes on, at the latest when the move has deleted the rows.
    IF TG_OP = 'DELETE' AND NOT begins THEN RETURN NULL; END IF;
    -- A broker may deliver a message again. A refusal would be an error without end, and without this row the service does not process the message.
    IF has_left AND TG_OP = 'INSERT' AND TG_ARGV[1]::boolean THEN RETURN NULL; END IF;
    RAISE EXCEPTION 'the account % is being moved, or lives in another cell', account
      USING ERRCODE = 'check_violation', CONSTRAINT = ${literal(ACCOUNT_MOVING)};
  END $guard$;
  CREATE OR REPLACE FUNCTION cells.hold() RETURNS trigger LANGUAGE plpgsql AS $hold$
  BEGIN
    RETURN jsonb_populate_record(NEW, jsonb_build_object(TG_ARGV[0], 'infinity'));
  END $hold$`;

/** Milliseconds for which CREATE TRIGGER waits for the transactions that write its table. Later transactions wait behind it. */
const LOCK_TIMEOUT_MS = 100;
const LOCK_PAUSE_MS = 200;
/** Longer than an autovacuum of a large table, which holds a lock that CREATE TRIGGER has to wait for. */
const LOCK_PATIENCE_MS = 600_000;

/** Creates the tables and functions of the guard, unless they exist. */
export async function installGuard(database: CellDatabase): Promise<void> {
  await database.query(`${SCHEMA}; ${guardOf(database.name)}`);
}

/** Starts to guard the account in a cell where it lives. Its writes are accepted as before. */
export async function watchAtHome(
  database: CellDatabase,
  tables: readonly AccountTable[],
  account: string,
): Promise<void> {
  await database.inTransaction(async (sql) => {
    await sql.query('INSERT INTO cells.homes VALUES ($1, $2) ON CONFLICT (account_id) DO NOTHING', [
      account,
      database.name,
    ]);
    await sql.query(`${WATCH} DO NOTHING`, [account]);
  });
  await createTriggers(database, tables);
}

/** Starts to guard the account in a cell to which it will move. Its writes are refused until its row of `cells.homes` has arrived and names this cell. */
export async function watchAway(
  database: CellDatabase,
  tables: readonly AccountTable[],
  account: string,
): Promise<void> {
  await database.query(`${WATCH} DO UPDATE SET has_left = false`, [account]);
  await createTriggers(database, tables);
}

/** Deletes the home that an earlier move from this cell has left. Call this after {@link watchAway}, which refuses all writes, and before the new row arrives. */
export async function forgetHome(database: CellDatabase, account: string): Promise<void> {
  await database.query('DELETE FROM cells.homes WHERE account_id = $1', [account]);
}

/** Ends the guard of an account that has arrived. */
export async function unwatch(database: CellDatabase, tables: readonly AccountTable[], account: string): Promise<void> {
  await createTriggers(database, tables, account);
  await database.inTransaction(async (sql) => {
    await sql.query('DELETE FROM cells.watched WHERE account_id = $1', [account]);
    await sql.query('DELETE FROM cells.homes WHERE account_id = $1', [account]);
  });
}

const WATCH = 'INSERT INTO cells.watched VALUES ($1) ON CONFLICT (account_id)';

/**
 * Creates the triggers of every table for all watched accounts. Each table has a transaction of its own with a short `lock_timeout`, so that the
 * requests of other accounts wait at most this long.
 */
async function createTriggers(database: CellDatabase, tables: readonly AccountTable[], except = ''): Promise<void> {
  const watched = await database.query<{ account_id: string }>(
    'SELECT account_id FROM cells.watched WHERE account_id <> $1 ORDER BY account_id',
    [except],
  );
  const accounts = `ANY (${literal(`{${watched.map(({ account_id }) => `"${account_id}"`).join()}}`)}::text[])`;
  for (const table of tables) {
    await withLock(`${database.name}: ${table.name}`, () =>
      database.inTransaction(async (sql) => {
        await sql.query(`SET LOCAL lock_timeout = ${LOCK_TIMEOUT_MS}; ${triggersOf(table, accounts)}`);
      }),
    );
  }
}

function triggersOf({ name, begins, finalAt, dueAt, isInbox }: AccountTable, accounts: string): string {
  const rules = `${literal(`{${begins.join()}}`)}, '${isInbox}'`;
  const guard = `
    CREATE OR REPLACE TRIGGER cells_guard BEFORE INSERT OR UPDATE ON ${name} FOR EACH ROW
      WHEN (NEW.account_id = ${accounts}) EXECUTE FUNCTION cells.guard(${rules});
    CREATE OR REPLACE TRIGGER cells_guard_delete BEFORE DELETE ON ${name} FOR EACH ROW
      WHEN (OLD.account_id = ${accounts}) EXECUTE FUNCTION cells.guard(${rules});`;
  if (!dueAt) return guard;
  // A replica trigger runs only for rows that arrive from another cell.
  return `${guard}
    CREATE OR REPLACE TRIGGER cells_hold BEFORE INSERT OR UPDATE ON ${name} FOR EACH ROW
      WHEN (NEW.account_id = ${accounts} AND NEW.${finalAt} IS NULL) EXECUTE FUNCTION cells.hold(${literal(dueAt)});
    ALTER TABLE ${name} ENABLE REPLICA TRIGGER cells_hold;`;
}

async function withLock(what: string, work: () => Promise<void>): Promise<void> {
  for (const deadline = performance.now() + LOCK_PATIENCE_MS; ; await pause(LOCK_PAUSE_MS)) {
    try {
      return await work();
    } catch (error) {
      if (!isLockTimeout(error)) throw error;
      if (performance.now() > deadline)
        throw new Error(`${what}: no lock in ${LOCK_PATIENCE_MS / 1000} s`, { cause: error });
    }
  }
}

/** The cell in which the account lives, by the row of this database; undefined without a row. After a move, only the old cell keeps the row. */
export async function homeOf(sql: Sql, account: string): Promise<string | undefined> {
  const [guard] = await sql.query<{ exists: boolean }>(`SELECT to_regclass('cells.homes') IS NOT NULL AS exists`);
  if (!guard?.exists) return undefined;
  const [row] = await sql.query<{ cell: string }>('SELECT cell FROM cells.homes WHERE account_id = $1', [account]);
  return row?.cell;
}

/** Refuses new work of the account for this long. Work that has begun goes on. */
export async function close(database: CellDatabase, account: string, forMs: number): Promise<void> {
  await database.query(
    `UPDATE cells.watched SET closed_until = clock_timestamp() + make_interval(secs => $2::float8 / 1000) WHERE account_id = $1`,
    [account, forMs],
  );
}

export async function reopen(database: CellDatabase, account: string): Promise<void> {
  await database.query('UPDATE cells.watched SET closed_until = NULL WHERE account_id = $1', [account]);
}

/**
 * Makes another cell the home of the account, for ever: from this commit on, no write of the account has an effect here.
 *
 * @param isIdle checks that the account has nothing unfinished, while no transaction of the account is open
 * @returns false, without a change, if the account is not idle, or no longer closed
 */
export function handOver(
  database: CellDatabase,
  account: string,
  to: string,
  isIdle: (sql: Sql) => Promise<boolean>,
): Promise<boolean> {
  return database.inTransaction(async (sql) => {
    // Shorter than the deadlock timeout of PostgreSQL, so that a deadlock ends this transaction and none of the service.
    await sql.query(`SET LOCAL lock_timeout = '500ms'`);
    await sql.query('SELECT pg_advisory_xact_lock($1, hashtext($2))', [LOCK_CLASS, account]);
    if (!(await isIdle(sql))) return false;
    const moved = await sql.query(
      `UPDATE cells.homes SET cell = $2 WHERE account_id = $1
       AND EXISTS (SELECT FROM cells.watched WHERE account_id = $1 AND closed_until > clock_timestamp())
       RETURNING 1`,
      [account, to],
    );
    if (moved.length === 0) return false;
    await sql.query('UPDATE cells.watched SET has_left = true WHERE account_id = $1', [account]);
    return true;
  });
}
