import { benchmarkDocument, benchmarkPanels } from './benchmark-document.js';
import { chart } from './chart.js';
import { withServer } from './database.js';
import { writeDocuments } from './documents.js';
import { describeMachine } from './machine.js';
import { optionsOfProcess } from './options.js';
import { terminalTable } from './report.js';
import { resultsOf } from './results.js';
import { measureRounds } from './rounds.js';

const options = optionsOfProcess('npm run bench', { rounds: 5, seconds: 3 }, { rounds: 1, seconds: 1 });

await withServer(async (server) => {
  const machine = await describeMachine(server);
  const series = await measureRounds(server, options);
  const results = resultsOf(series);
  process.stdout.write(`${terminalTable(results)}\n`);
  const markdown = benchmarkDocument(series, options, machine);
  const svg = chart('Requests per second', benchmarkPanels(results));
  if (!options.quick) await writeDocuments('benchmark', markdown, svg);
});
