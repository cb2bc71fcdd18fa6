import { setTimeout as pause } from 'node:timers/promises';
import { STEPS } from '../../deploy/cells/move/move.js';
import { until } from '../../harness/postgres-node.js';
import {
  expectNone,
  expectOneHome,
  expectRefusedBy,
  REFUSED_MS,
  reasonsOf,
  refusedFor,
  replay,
} from './expectations.js';
import { homeIn, killedMove, moved } from './moves.js';
import type { Traffic } from './traffic.js';
import { ACCOUNTS, type CellName, type World } from './world.js';

/** Runs while clients send requests. Returns what was seen, and throws an Error if it is not what was expected. */
type Scene = (world: World, traffic: Traffic) => Promise<string>;

const DOWN_MS = 4_000;
const REPLAYS = 150;

/** Where a move is killed: just after its start, and after each of its steps but the last. */
const KILLED_AFTER = ['start', ...STEPS.slice(0, -1)];

export const SCENES: Readonly<Record<string, Scene>> = {
  'twelve accounts are served, each from one database': async (world, traffic) => {
    await traffic.acknowledges(ACCOUNTS, 2);
    const since = Date.now();
    await traffic.acknowledges(ACCOUNTS, 10);
    expectNone('refusals', traffic.refusals(since));
    await expectOneHome(world);
    return `${traffic.acknowledged(since).length} final replies, no refusal, no account in both databases`;
  },

  'an unknown API key is refused by the router': async ({ router }) => {
    const answer = await fetch(`http://127.0.0.1:${router.clientPort}/balance`, {
      headers: { authorization: 'Bearer unknown' },
    });
    const { code } = (await answer.json()) as { code?: string };
    if (answer.status !== 401 || code !== 'unauthorized') throw new Error(`${answer.status} ${code}`);
    return '401 unauthorized';
  },

  'a replica is killed, and no client that sends a key sees an error': async (world, traffic) => {
    const accounts = await accountsOf(world, 'cell1');
    const since = Date.now();
    const [replica] = world.cells.cell1.replicas;
    await replica.kill();
    await traffic.acknowledges(accounts, 10);
    const refusals = traffic.refusals(since);
    expectNone(
      'refusals of requests with a key',
      refusals.filter(({ operation }) => operation.key !== undefined),
    );
    await replica.start();
    await traffic.acknowledges(accounts, 5);
    return `${traffic.acknowledged(since).length} final replies; ${refusals.length} requests without a key got an error`;
  },

  'the database of a cell is killed, and the other cell does not notice': async (world, traffic) => {
    const { cell1, cell2 } = { cell1: await accountsOf(world, 'cell1'), cell2: await accountsOf(world, 'cell2') };
    const since = Date.now();
    await world.cells.cell2.postgres.kill();
    await Promise.all([pause(DOWN_MS), traffic.acknowledges(cell1, 5)]);
    const meanwhile = cell1.flatMap((account) => traffic.acknowledged(since, account)).length;
    await world.cells.cell2.postgres.start();
    await traffic.acknowledges(cell2, 5);
    const refusals = traffic.refusals(since);
    expectNone(
      'refusals in the other cell',
      refusals.filter(({ operation }) => cell1.includes(operation.account)),
    );
    expectNone(
      'answers that are not problems',
      refusals.filter(({ reason }) => /^\d{3}$/.test(reason)),
    );
    if (refusals.length === 0) throw new Error('no client of the cell has noticed');
    return `the other cell acknowledged ${meanwhile} requests in ${DOWN_MS / 1000} s; ${reasonsOf(refusals)}`;
  },

  [`an account moves under load, is refused for less than ${REFUSED_MS / 1000} s, and ${REPLAYS} replies replay from its new cell`]:
    async (world, traffic) => {
      const account = 'acct_01';
      const replies = () => traffic.acknowledged(0, account).filter(({ operation }) => operation.key !== undefined);
      await until(`${REPLAYS} replies`, () => Promise.resolve(replies().length >= REPLAYS));
      const old = replies();
      const since = Date.now();
      await moved(world, account, 'cell2');
      await traffic.acknowledges([account], 5);
      const { refusedMs, refusals } = await refusedFor(traffic, account, since);
      expectNone(
        'refusals of other accounts',
        traffic.refusals(since).filter(({ operation }) => operation.account !== account),
      );
      const differing = await replay(world.router.clientPort, old);
      if (differing.length > 0)
        throw new Error(`${differing.length} of ${old.length} replies differ, such as ${differing[0]}`);
      await expectRefusedBy(world.cells.cell1, account);
      await expectOneHome(world);
      return `refused for ${refusedMs} ms (${reasonsOf(refusals)}); ${old.length} of ${old.length} replies have the same bytes; no refusal of other accounts`;
    },

  'a move is killed at each step, and resumed': async (world, traffic) => {
    const seen: string[] = [];
    const since = Date.now();
    for (const [i, step] of KILLED_AFTER.entries()) {
      const account = ACCOUNTS[i + 1] as string;
      const from = await world.cellOf(account);
      const to = from === 'cell1' ? 'cell2' : 'cell1';
      await killedMove(world, account, to, step);
      // Until the account has been handed over, it opens again by itself. The move may have gone on for a moment before it was killed.
      const isHandedOver = (await homeIn(world.cells[from], account)) === to;
      if (!isHandedOver) await traffic.acknowledges([account], 1);
      const resumedAt = Date.now();
      await moved(world, account, to);
      await traffic.acknowledges([account], 1);
      if (!isHandedOver) seen.push(`${step} ${(await refusedFor(traffic, account, resumedAt)).refusedMs} ms`);
      await expectRefusedBy(world.cells[from], account);
    }
    const movedAccounts = ACCOUNTS.slice(1, KILLED_AFTER.length + 1);
    expectNone(
      'refusals of other accounts',
      traffic.refusals(since).filter(({ operation }) => !movedAccounts.includes(operation.account)),
    );
    await expectOneHome(world);
    return `refused after it was resumed: ${seen.join(', ')}`;
  },

  'an account moves back to the cell that has refused it since it left': async (world, traffic) => {
    const since = Date.now();
    await moved(world, 'acct_01', 'cell1');
    await traffic.acknowledges(['acct_01'], 2);
    await expectRefusedBy(world.cells.cell2, 'acct_01');
    await expectOneHome(world);
    return `refused for ${(await refusedFor(traffic, 'acct_01', since)).refusedMs} ms`;
  },
};

async function accountsOf(world: World, cell: CellName): Promise<string[]> {
  const homes = await Promise.all(ACCOUNTS.map((account) => world.cellOf(account)));
  return ACCOUNTS.filter((_, i) => homes[i] === cell);
}
