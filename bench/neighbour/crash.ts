import { setTimeout as pause } from 'node:timers/promises';
import { startService } from '../contenders/service.js';
import type { BenchDatabase, BenchServer } from '../database.js';
import { Progress } from '../../harness/progress.js';
import { API_KEYS, HONEST_ACCOUNTS, NOISY_ACCOUNT, QUIET_ACCOUNT } from './accounts.js';
import { chargeWithToken, type Outgoing, Sender } from './requests.js';
import type { Beside } from './rounds.js';

/** How many charges a crash leaves unfinished besides account B's, and the settings of the service. */
interface CrashPlan {
  charges: number;
  settings: Record<string, string>;
}

/** With the default settings, and as many charges as held up recovery for minutes before accounts took turns. */
export const USUAL_CRASH: CrashPlan = { charges: 120, settings: {} };
/** The same within a few seconds. */
export const QUICK_CRASH: CrashPlan = {
  charges: 12,
  settings: { IDEMPOTENCY_LEASE_SECONDS: '1', RECOVERY_INTERVAL_MS: '200' },
};

/** Seconds from a crash until recovery has completed account B's charge. */
export type CrashSeconds = Record<Beside, number>;

/** The bank captures, but its answer does not arrive within the 10 s that the service waits. That is enough time for the crash. */
const UNANSWERED = 'tok_timeout';
/** The bank answers at once that it has decided nothing. */
const UNDECIDABLE = 'tok_unavailable';
/** Before the crash, recovery must not finish what the crash is to leave unfinished. */
const WITHOUT_RECOVERY = { RECOVERY_INTERVAL_MS: '3600000' };
const LOOK_INTERVAL_MS = 100;
/** Far longer than recovery took when each undecidable charge held up all others for more than a second. */
const TIMEOUT_MS = 600_000;

/** The charges besides account B's: which accounts send them, and how the bank treats them. */
interface Leftovers {
  accounts: readonly string[];
  token: typeof UNANSWERED | typeof UNDECIDABLE;
  count: number;
}

/**
 * Kills a service while account B's charge is in flight, and restarts it. Does so on three databases at the same time,
 * because most of that time is spent waiting for a lease to expire.
 *
 * @throws Error if account B's charge is not completed, or not captured exactly once
 */
export async function measureCrash(server: BenchServer, { charges, settings }: CrashPlan): Promise<CrashSeconds> {
  const databases: Record<Beside, BenchDatabase> = {
    alone: await server.createDatabase('bench_crash_alone'),
    honest: await server.createDatabase('bench_crash_honest'),
    attack: await server.createDatabase('bench_crash_attack'),
  };
  const progress = new Progress(Object.keys(databases).length);
  const crash = async (beside: Beside, leftovers: Leftovers) => {
    const label = `a noisy neighbour, recovery after a crash, ${beside}: `;
    const show = (seconds: number) => progress.show(`${label}not yet after ${Math.round(seconds)} s`);
    const seconds = await secondsToRecover(databases[beside], leftovers, settings, show);
    progress.finish(`${label}${Math.round(seconds)} s`);
    return seconds;
  };
  const [alone, honest, attack] = await Promise.all([
    crash('alone', { accounts: [], token: UNANSWERED, count: 0 }),
    crash('honest', { accounts: HONEST_ACCOUNTS, token: UNANSWERED, count: charges }),
    crash('attack', { accounts: [NOISY_ACCOUNT], token: UNDECIDABLE, count: charges }),
  ]);
  return { alone, honest, attack };
}

async function secondsToRecover(
  database: BenchDatabase,
  leftovers: Leftovers,
  settings: Record<string, string>,
  onProgress: (seconds: number) => void,
): Promise<number> {
  const doomed = await startService(database.url, { ...settings, ...WITHOUT_RECOVERY, API_KEYS });
  const sender = new Sender(doomed.url);
  await leaveUnfinished(database, sender, leftovers);
  const [crash] = await database.sql<{ at: string }>('SELECT clock_timestamp()::text AS at');
  await doomed.program.end();
  sender.end();

  const restarted = await startService(database.url, { ...settings, API_KEYS });
  const startedAtMs = performance.now();
  for (;;) {
    const [quiet] = await database.sql<{ seconds: number | null; captures: number; status: string }>(QUIET_CHARGE, [
      QUIET_ACCOUNT,
      crash?.at,
    ]);
    if (typeof quiet?.seconds === 'number') {
      await restarted.program.end();
      if (quiet.status === 'succeeded' && quiet.captures === 1) return quiet.seconds;
      throw new Error(`account B's charge is ${quiet.status} after recovery, with ${quiet.captures} captures`);
    }
    const waitedMs = performance.now() - startedAtMs;
    if (waitedMs > TIMEOUT_MS) throw new Error(`account B's charge is unfinished ${waitedMs / 1000} s after a crash`);
    onProgress(waitedMs / 1000);
    await pause(LOOK_INTERVAL_MS);
  }
}

/**
 * Sends the leftovers and account B's charge, and waits until all of them are claimed and each undecidable one is answered. A
 * charge that was refused before it was claimed is sent again, as a client would do it.
 */
async function leaveUnfinished(database: BenchDatabase, sender: Sender, leftovers: Leftovers): Promise<void> {
  const { accounts, token, count } = leftovers;
  const missing = new Map<string, Outgoing>([['unfinished', chargeWithToken(QUIET_ACCOUNT, 'unfinished', UNANSWERED)]]);
  for (let i = 0; i < count; i++) {
    const key = `leftover-${i}`;
    missing.set(key, chargeWithToken(accounts[i % accounts.length] ?? '', key, token));
  }
  const inFlight = new Set<string>();
  const send = (key: string, charge: Outgoing) => {
    inFlight.add(key);
    void sender.send(charge).then(() => inFlight.delete(key));
  };
  const deadlineMs = performance.now() + TIMEOUT_MS;
  for (;;) {
    const claimed = await database.sql<{ key: string; isCompleted: boolean }>(CLAIMED);
    if (claimed.some(({ isCompleted }) => isCompleted)) throw new Error('a charge was completed before the crash');
    claimed.forEach(({ key }) => missing.delete(key));
    const isAnswered = token === UNANSWERED || [...inFlight].every((key) => key === 'unfinished');
    if (missing.size === 0 && isAnswered) return;
    if (performance.now() > deadlineMs) throw new Error(`${missing.size} of ${count + 1} charges were not claimed`);
    for (const [key, charge] of missing) if (!inFlight.has(key)) send(key, charge);
    await pause(LOOK_INTERVAL_MS);
  }
}

const CLAIMED = `
  SELECT idempotency_key AS key, completed_at IS NOT NULL AS "isCompleted" FROM processed_requests`;
const QUIET_CHARGE = `
  SELECT extract(epoch FROM completed_at - $2::timestamptz)::float8 AS seconds,
         (SELECT count(*)::int FROM bank.captures WHERE account_id = $1) AS captures,
         (SELECT status FROM charges WHERE account_id = $1) AS status
  FROM processed_requests WHERE account_id = $1`;
