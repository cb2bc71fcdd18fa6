import { setTimeout as pause } from 'node:timers/promises';
import { type Fault, pauseFor } from './fault.js';
import { ACCOUNTS } from './replicas.js';

/** How many times statements are cancelled, one after the other. */
const CANCEL_ROUNDS = 25;

/** How long a balance is locked if no message arrives for it. */
const LOCK_MS = 4_000;
/** How much longer it is locked if a message has arrived. A message waits for 250 ms in its first delivery. */
const LOCKED_MS = { least: 300, most: 1_500 };
const LOOK_INTERVAL_MS = 50;

/** Faults that an administrator of the database can cause. */
export const SESSION_FAULTS = {
  /** Cancels about half of all running statements with pg_cancel_backend, many times in a row. */
  'statements cancelled': async (arena, _random, landed) => {
    let cancelled = 0;
    for (let round = 0; round < CANCEL_ROUNDS; round++) {
      cancelled += (await arena.database.query(CANCEL).catch(() => [])).length;
    }
    if (cancelled > 0) landed(`${cancelled} statements`);
  },

  /** Terminates every second connection with pg_terminate_backend. */
  'connections terminated': async (arena, _random, landed) => {
    const terminated = await arena.database.query(TERMINATE).catch(() => []);
    if (terminated.length > 0) landed(`${terminated.length} connections`);
  },

  /** Locks the balance of one account, so that its messages cannot be delivered together with those of other accounts. */
  'balance locked': async ({ database }, random, landed) => {
    const account = random.pick(ACCOUNTS);
    let isFelt = false;
    const lock = database.whileLocked(account, async (hasWaiting) => {
      const deadline = performance.now() + LOCK_MS;
      while (!(isFelt = await hasWaiting()) && performance.now() < deadline) await pause(LOOK_INTERVAL_MS);
      if (isFelt) await pauseFor(random, LOCKED_MS);
    });
    // Another fault may end the session that holds the lock.
    await lock.catch(() => undefined);
    if (isFelt) landed(account);
  },
} satisfies Record<string, Fault>;

const TERMINATE = `
  SELECT pid FROM (
    SELECT pid, row_number() OVER (ORDER BY pid) AS number FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend') AS connections
  -- CASE fixes the order of evaluation. With AND the planner would evaluate the cheaper condition first, which terminates every connection.
  WHERE CASE WHEN number % 2 = 0 THEN pg_terminate_backend(pid) END`;

// MATERIALIZED, because the planner may otherwise call the function before it filters by database, and so cancel statements of the whole server.
const CANCEL = `
  WITH own AS MATERIALIZED (
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
      AND state = 'active' AND random() < 0.5)
  SELECT pid FROM own WHERE pg_cancel_backend(pid)`;
