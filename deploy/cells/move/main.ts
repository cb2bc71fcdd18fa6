import { optionsOfProcess } from '../../../harness/options.js';
import { Progress } from '../../../harness/progress.js';
import { CellDatabase } from './cell-database.js';
import { move, STEPS } from './move.js';
import { type Options, readOptions, USAGE } from './options.js';
import { type Plan, planOf } from './plan.js';
import { Router } from './router.js';

const print = (text: string) => void process.stdout.write(`${text}\n`);

async function main({ account, to, isDryRun, cells, router: routerOptions }: Options): Promise<void> {
  const databases = new Map(
    Object.entries(cells).map(([name, { database, databaseForCells = database }]) => [
      name,
      new CellDatabase(name, database, databaseForCells),
    ]),
  );
  const router = new Router(routerOptions);
  try {
    // Reserved before the plan is made, because another move could change what the plan depends on.
    if (!isDryRun) for (const database of databases.values()) await database.reserve();
    const plan = await planOf(databases, router, account, to);
    if (isDryRun) return print(inWords(plan));
    if (plan.stage === 'done') return print(`${account} lives in ${to}`);
    const progress = new Progress(STEPS.length);
    await move(plan, router, {
      show: (text) => progress.show(text),
      finish: (step, text) => progress.finish(`${step}: ${text}`, STEPS.indexOf(step) + 1),
    });
    print(`${account} has moved from ${plan.from.name} to ${to}`);
  } finally {
    await Promise.all([...databases.values()].map((database) => database.end()));
  }
}

function inWords({ account, from, to, stage, rows }: Plan): string {
  switch (stage) {
    case 'done':
      return `${account} lives in ${to.name}; there is nothing to do`;
    case 'finish':
      return `${account} lives in ${to.name}; the router would be switched, and what is left in ${from.name} would be deleted`;
    case 'copy':
      return [
        `${account} would be moved from ${from.name} to ${to.name}:`,
        ...[...rows].map(([table, count]) => `  ${table.padEnd(20)} ${String(count).padStart(10)} rows`),
      ].join('\n');
  }
}

const options = optionsOfProcess(USAGE, readOptions);
await main(options).catch((error: unknown) => {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
});
