import { measureBudget } from './budget/budget.js';
import { budgetText } from './budget/document.js';
import { benchmarkFiles } from './benchmark-document.js';
import { withServer } from './database.js';
import { writeDocuments } from './documents.js';
import { describeMachine } from './machine.js';
import { neighbourText } from './neighbour/document.js';
import { measureNeighbour } from './neighbour/neighbour.js';
import { NEIGHBOUR } from './neighbour/results.js';
import { BUDGET, commandOf, optionsOf } from './options.js';
import { endProcesses } from '../harness/processes.js';
import { resultsText } from './report.js';
import { resultsOf } from './results.js';
import { measureRounds, type Series } from './rounds.js';
import { REPLICA_SCENARIOS, SCENARIOS } from './scenarios.js';

const options = optionsOf({
  command: 'npm run bench',
  usual: { rounds: 5, seconds: 3 },
  quick: { rounds: 1, seconds: 1 },
  parts: [...[...SCENARIOS, ...REPLICA_SCENARIOS].map(({ id }) => id), NEIGHBOUR, BUDGET],
});
const isMeasured = (part: string) => options.only === undefined || options.only === part;

await withServer(async (server) => {
  const machine = await describeMachine(server);
  const series: Series[] = [];
  for (const scenarios of [SCENARIOS, REPLICA_SCENARIOS]) {
    const chosen = scenarios.filter(({ id }) => isMeasured(id));
    if (chosen.length > 0) series.push(...(await measureRounds(server, options, chosen)));
    // Idle contenders would still poll for messages and disturb the next part.
    await endProcesses();
  }
  const neighbour = isMeasured(NEIGHBOUR) ? await measureNeighbour(server, options) : undefined;
  await endProcesses();
  const budgets = isMeasured(BUDGET) ? await measureBudget(server, options) : undefined;

  if (series.length > 0) process.stdout.write(`${resultsText(resultsOf(series, options))}\n`);
  if (neighbour) process.stdout.write(`${neighbourText(neighbour)}\n`);
  if (budgets) process.stdout.write(`${budgetText(budgets)}\nRepeat: ${commandOf(BUDGET, options)}\n`);
  const [budget] = budgets ?? [];
  // All parts are in one document.
  if (options.quick || options.only !== undefined || !neighbour || !budget) return;
  await writeDocuments(benchmarkFiles({ series, neighbour, budget }, options, machine));
});
