import { benchmarkFiles } from './benchmark-document.js';
import { withServer } from './database.js';
import { writeDocuments } from './documents.js';
import { describeMachine } from './machine.js';
import { neighbourText } from './neighbour/document.js';
import { measureNeighbour } from './neighbour/neighbour.js';
import { optionsOfProcess } from './options.js';
import { endProcesses } from '../harness/processes.js';
import { resultsText } from './report.js';
import { resultsOf } from './results.js';
import { measureRounds } from './rounds.js';

const PARTS = ['contenders', 'noisy-neighbour'] as const;
const options = optionsOfProcess('npm run bench', { rounds: 5, seconds: 3 }, { rounds: 1, seconds: 1 }, PARTS);

await withServer(async (server) => {
  const machine = await describeMachine(server);
  const series = options.only === 'noisy-neighbour' ? undefined : await measureRounds(server, options);
  // Idle contenders would still look for messages while the next part is measured.
  await endProcesses();
  const neighbour = options.only === 'contenders' ? undefined : await measureNeighbour(server, options);

  if (series) process.stdout.write(`${resultsText(resultsOf(series))}\n`);
  if (neighbour) process.stdout.write(`${neighbourText(neighbour)}\n`);
  // One document has both parts.
  if (!series || !neighbour) return;
  const files = benchmarkFiles(series, neighbour, options, machine);
  if (!options.quick) await writeDocuments(files);
});
