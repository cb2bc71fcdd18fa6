import { withServer } from './database.js';
import { optionsOfProcess } from './options.js';
import { terminalTable } from './report.js';
import { resultsOf } from './results.js';
import { measureRounds } from './rounds.js';

const options = optionsOfProcess('npm run bench', { rounds: 5, seconds: 3 }, { rounds: 1, seconds: 1 });

async function run(): Promise<void> {
  await withServer(async (server) => {
    const series = await measureRounds(server, options);
    const results = resultsOf(series);
    process.stdout.write(`${terminalTable(results)}\n`);
  });
}

run().then(
  () => process.exit(0),
  (error: unknown) => {
    process.stderr.write(`\nThe benchmark failed: ${(error as Error).message}\n`);
    process.exit(1);
  },
);
