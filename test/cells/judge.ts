import { until } from '../../harness/postgres-node.js';
import { check } from '../chaos/checker/checker.js';
import type { DatabaseState, Snapshot } from '../chaos/evidence.js';
import type { Traffic } from './traffic.js';
import { ACCOUNTS, INITIAL_STOCK, type World } from './world.js';

const VIOLATIONS_SHOWN = 10;

/** Ends the load, sends every operation again, and lets the checker of the chaos run judge everything that clients, databases and the bank have seen. */
export async function judge(world: World, traffic: Traffic): Promise<string> {
  await traffic.end();
  await quiescence(world);
  const healed = await snapshot(world);
  await traffic.resend();
  await quiescence(world);
  const end = await snapshot(world);
  traffic.history.add({ type: 'phase', name: 'end' });
  const { verdict, violations, doubts, counts } = check({
    history: traffic.history.events,
    healed,
    end,
    crashed: Object.values(world.cells).flatMap(({ replicas }) =>
      replicas.filter(({ runs }) => !runs).map(({ number }) => number),
    ),
    faults: [],
    initialStock: INITIAL_STOCK,
    hasBroker: false,
    isReported: false,
  });
  const reasons = [...violations.map(({ invariant, about }) => `${invariant}: ${about}`), ...doubts];
  if (verdict !== 'valid') throw new Error(`${verdict}\n${reasons.slice(0, VIOLATIONS_SHOWN).join('\n')}`);
  return `${counts.keys} operations, ${counts.attempts} attempts, ${counts.ok} final replies, nothing lost, doubled or changed`;
}

/** Both databases as one. */
async function snapshot(world: World): Promise<Snapshot> {
  const [first, second] = await Promise.all(Object.values(world.cells).map(({ database }) => database.read()));
  const database = Object.fromEntries(
    Object.entries(first as DatabaseState).map(([table, rows]) => [
      table,
      [...(rows as unknown[]), ...((second?.[table as keyof DatabaseState] ?? []) as unknown[])],
    ]),
  ) as unknown as DatabaseState;
  return { database, journal: world.journal() };
}

const quiescence = (world: World) =>
  until('nothing is unfinished', async () => {
    const counts = await Promise.all(Object.values(world.cells).map(({ database }) => database.unfinished()));
    return counts.every((count) => count === 0);
  });

/** The accounts of which both databases have rows. */
export async function accountsInBothCells(world: World): Promise<string[]> {
  const found = await Promise.all(
    Object.values(world.cells).map(async ({ database }) => {
      const state = await database.read();
      const { charges, requests, orders, stock, messages, processed, balances, payments } = state;
      const rows = [charges, requests, orders, stock, messages, processed, balances, payments].flat();
      return new Set(rows.map(({ account_id }) => account_id));
    }),
  );
  return ACCOUNTS.filter((account) => found.every((accounts) => accounts.has(account)));
}
