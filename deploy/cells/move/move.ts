import { setTimeout as pause } from 'node:timers/promises';
import { isLockTimeout } from '../../../src/postgres/database-errors.js';
import type { CellDatabase } from './cell-database.js';
import { differences, EVER } from './compare.js';
import { clean } from './clean.js';
import { close, forgetHome, handOver, homeOf, installGuard, reopen, unwatch, watchAtHome, watchAway } from './guard.js';
import type { Plan } from './plan.js';
import {
  type CopyProgress,
  copyProgress,
  endReplication,
  isSubscribed,
  publish,
  subscribe,
  unpublish,
} from './replication.js';
import type { Router } from './router.js';
import { inWords, isNothing, unfinished } from './unfinished.js';

/** The steps of a move, as they are reported. The steps from `drained` to `handed over` are repeated if they took too long. */
export const STEPS = ['guarded', 'copied', 'drained', 'compared', 'handed over', 'switched', 'cleaned'] as const;

/** Shows where the move is. */
export interface Reporter {
  /** The current step goes on. */
  show(text: string): void;
  /** A step has ended. */
  finish(step: (typeof STEPS)[number], text: string): void;
}

/**
 * Maximum milliseconds for which new work of the account is refused before the hand-over. After this time the old cell accepts new work again,
 * even if the move was killed. Less than the 3 s that are promised, because the router is switched and the last commit arrives after this time.
 */
const CLOSED_MS = 2_500;
/** An unfinished request or message that is older than this is delayed by a crash or by the bank, so the account is not closed yet. */
const STUCK_SECONDS = 2;
/** Longer than any transaction of the service, which ends after 15 s. So no row can still get a final time that is older than this. */
const FINAL_SECONDS = 20;
/** Messages that were published earlier than this are not checked, because consumers have received them by now. */
const DELIVERED_SECONDS = 86_400;
const LOOK_INTERVAL_MS = 20;
const PAUSE_MS = 500;

/** The account could not be handed over in the time for which it may be closed. */
class TooSlow extends Error {}

/** Moves the account, or finishes a move that was killed. Other accounts are served as usual, and the account is refused for less than 3 s. */
export async function move(plan: Plan, router: Router, report: Reporter): Promise<void> {
  const { account, from, to, tables } = plan;
  if (plan.stage === 'copy') {
    await prepare(plan);
    report.finish('guarded', `${from.name} and ${to.name} check the home of ${account}`);
    await copy(plan, report);
    await handOverWhenIdle(plan, report);
  }
  await router.send(account, to.name);
  await arrival(plan, report);
  report.finish('switched', `requests of ${account} go to ${to.name}`);
  await endReplication(to, from, account);
  await unwatch(to, tables, account);
  const deleted = await clean(from, tables, account, (rows) => report.show(`cleaning: ${rows} rows deleted`));
  await unpublish(from, account);
  report.finish('cleaned', `${deleted} rows deleted in ${from.name}, which refuses ${account} from now on`);
}

/** Installs the guard in both cells, and starts the copy. */
async function prepare({ account, from, to, tables }: Plan): Promise<void> {
  await installGuard(from);
  await installGuard(to);
  await watchAtHome(from, tables, account);
  await watchAway(to, tables, account);
  await publish(from, tables, account);
  if (await isSubscribed(to, account)) return;
  await forgetHome(to, account);
  await subscribe(to, from, account);
}

/** Waits until all rows have arrived. PostgreSQL replicates later changes at once. */
async function copy({ account, to, rows }: Plan, report: Reporter): Promise<void> {
  const check = await copyCheck(to, account);
  for (;;) {
    const { ready, tables } = await check();
    if (ready === tables) break;
    report.show(`copying: ${ready} of ${tables} tables follow`);
    await pause(PAUSE_MS / 5);
  }
  const total = [...rows.values()].reduce((sum, count) => sum + count, 0);
  report.finish('copied', `more than ${total} rows, and every change follows`);
}

/** Waits until the row of `cells.homes` has arrived behind all other rows, which opens the new cell. */
async function arrival({ account, from, to }: Plan, report: Reporter): Promise<void> {
  const hasArrived = async () => (await homeOf(to, account)) !== from.name;
  if (await hasArrived()) return;
  const check = await copyCheck(to, account);
  while (!(await hasArrived())) {
    await check();
    report.show(`waiting until the last rows of ${account} arrive in ${to.name}`);
    await pause(LOOK_INTERVAL_MS);
  }
}

/** Returns a function that looks at the copy, and throws an Error if a row could not be applied since the first look. */
async function copyCheck(to: CellDatabase, account: string): Promise<() => Promise<CopyProgress>> {
  const known = await copyProgress(to, account);
  return async () => {
    const progress = await copyProgress(to, account);
    if (progress.errors > known.errors)
      throw new Error(`${to.name} cannot apply the rows of ${account}; its log has the reason`);
    return progress;
  };
}

/**
 * Closes the account until it has nothing unfinished and both cells have the same rows, and makes the new cell its home. Rows that are final are
 * compared before, while the account is served, so the time for which it is closed does not grow with its history.
 */
async function handOverWhenIdle(plan: Plan, report: Reporter): Promise<void> {
  let finalAfter = EVER;
  for (let attempt = 1; ; attempt++) {
    const finalUntil = await timeBefore(plan, FINAL_SECONDS);
    await expectEqual(plan, { finalAfter, finalUntil });
    finalAfter = finalUntil;
    // Directly before the account is closed, because while it is closed only its latest messages are checked.
    await untilNothingIsStuck(plan, report);
    const closedAt = performance.now();
    try {
      await closeAndHandOver(plan, finalAfter, report);
      return report.finish(
        'handed over',
        `${plan.to.name} is the home of ${plan.account}, ${sinceMs(closedAt)} ms after it was closed (attempt ${attempt})`,
      );
    } catch (error) {
      if (!(error instanceof TooSlow)) throw error;
      report.show(`reopened after ${sinceMs(closedAt)} ms: ${error.message}`);
    } finally {
      // Changes nothing in an account that has been handed over.
      await reopen(plan.from, plan.account);
    }
    await pause(CLOSED_MS);
  }
}

async function closeAndHandOver(
  { account, from, to, tables }: Plan,
  finalAfter: string,
  report: Reporter,
): Promise<void> {
  const deadline = performance.now() + CLOSED_MS;
  const idle = { olderThanSeconds: 0, publishedWithinSeconds: FINAL_SECONDS + CLOSED_MS / 1000 };
  const startedAt = performance.now();
  await close(from, account, CLOSED_MS);
  for (;;) {
    const left = await unfinished(from, account, idle);
    if (isNothing(left)) break;
    if (performance.now() > deadline) throw new TooSlow(inWords(left));
    await pause(LOOK_INTERVAL_MS);
  }
  report.finish('drained', `nothing of ${account} is unfinished after ${sinceMs(startedAt)} ms`);
  for (;;) {
    const differing = await differences([from, to], tables, account, { finalAfter });
    if (differing.length === 0) break;
    if (performance.now() > deadline) throw new TooSlow(differing.join('; '));
  }
  report.finish('compared', `both cells have the same rows after ${sinceMs(startedAt)} ms`);
  const isDone = await handOver(from, account, to.name, async (sql) =>
    isNothing(await unfinished(sql, account, idle)),
  ).catch((error: unknown) => {
    if (isLockTimeout(error)) return false;
    throw error;
  });
  if (!isDone) throw new TooSlow('a request began or was writing');
}

async function untilNothingIsStuck({ account, from }: Plan, report: Reporter): Promise<void> {
  const stuck = { olderThanSeconds: STUCK_SECONDS, publishedWithinSeconds: DELIVERED_SECONDS };
  for (;;) {
    const left = await unfinished(from, account, stuck);
    if (isNothing(left)) return;
    report.show(`waiting for work that is older than ${STUCK_SECONDS} s: ${inWords(left)}`);
    await pause(PAUSE_MS);
  }
}

/** Waits until the last changes have arrived, for as long as a busy machine may take. */
async function expectEqual(
  { account, from, to, tables }: Plan,
  part: { finalAfter: string; finalUntil: string },
): Promise<void> {
  const deadline = performance.now() + FINAL_SECONDS * 1_000;
  for (;;) {
    const differing = await differences([from, to], tables, account, part);
    if (differing.length === 0) return;
    if (performance.now() > deadline) throw new Error(`the copy differs: ${differing.join('; ')}`);
    await pause(PAUSE_MS);
  }
}

async function timeBefore({ from }: Plan, seconds: number): Promise<string> {
  const { time } = await from.one<{ time: string }>(
    `SELECT (clock_timestamp() - make_interval(secs => $1))::text AS time`,
    [seconds],
  );
  return time;
}

const sinceMs = (startedAt: number) => Math.round(performance.now() - startedAt);
