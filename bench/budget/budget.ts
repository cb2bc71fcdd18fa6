import { Progress } from '../../harness/progress.js';
import type { BenchServer } from '../database.js';
import type { LoadJob } from '../load.js';
import type { Options } from '../options.js';
import { Worker } from '../worker.js';
import { OPERATION_IDS, OPERATIONS, type Reading, type Readings } from './figures.js';
import { QUICK, Round, USUAL } from './round.js';
import { THIS_TREE, type Tree } from './tree.js';

/** The readings of a tree. */
export interface TreeBudget {
  tree: Tree;
  readings: Readings;
}

/** Background work of PostgreSQL has a schedule of its own, so it would happen in some runs and not in others. */
const WITHOUT_BACKGROUND_WORK = { autovacuum: 'off', checkpoint_timeout: '1d', max_wal_size: '16GB' };

/**
 * Measures the cost of each operation in this tree and, if another tree is given, in the other tree. The trees take turns.
 *
 * @throws Error if an operation did not have exactly its effects
 */
export async function measureBudget(
  server: BenchServer,
  { rounds, quick, against }: Pick<Options, 'rounds' | 'quick'> & { against: Tree | undefined },
): Promise<TreeBudget[]> {
  const plan = quick ? QUICK : USUAL;
  const trees = against ? [THIS_TREE, against] : [THIS_TREE];
  const budgets = trees.map((tree) => ({
    tree,
    readings: Object.fromEntries(OPERATION_IDS.map((operation) => [operation, [] as Reading[]])) as Readings,
  }));
  const load = await Worker.start<LoadJob>('bench/load.js');
  const progress = new Progress(rounds * trees.length);
  await server.configure(WITHOUT_BACKGROUND_WORK);
  for (let number = 1; number <= rounds; number++) {
    for (const budget of number % 2 === 1 ? budgets : budgets.toReversed()) {
      const label = `budget of ${budget.tree.name}, round ${number} of ${rounds}`;
      progress.show(`${label}: warm-up`);
      const database = await server.createEmptyDatabase(`budget_${trees.indexOf(budget.tree)}_${number}`);
      const round = await Round.start(server, load, budget.tree, database, plan);
      const readings = await round.measure((operation) => progress.show(`${label}: ${OPERATIONS[operation]}`));
      await round.end();
      for (const operation of OPERATION_IDS) budget.readings[operation].push(readings[operation]);
      progress.finish(label);
    }
  }
  await server.configure({});
  return budgets;
}
