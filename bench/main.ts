import { benchmarkFiles } from './benchmark-document.js';
import { withServer } from './database.js';
import { writeDocuments } from './documents.js';
import { describeMachine } from './machine.js';
import { neighbourText } from './neighbour/document.js';
import { measureNeighbour } from './neighbour/neighbour.js';
import { optionsOf } from './options.js';
import { endProcesses } from '../harness/processes.js';
import { resultsText } from './report.js';
import { resultsOf } from './results.js';
import { measureRounds } from './rounds.js';

const options = optionsOf({
  command: 'npm run bench',
  usual: { rounds: 5, seconds: 3 },
  quick: { rounds: 1, seconds: 1 },
  parts: ['contenders', 'noisy-neighbour'],
});

await withServer(async (server) => {
  const machine = await describeMachine(server);
  const series = options.only === 'noisy-neighbour' ? undefined : await measureRounds(server, options);
  // Idle contenders would still poll for messages and disturb the next part.
  await endProcesses();
  const neighbour = options.only === 'contenders' ? undefined : await measureNeighbour(server, options);

  if (series) process.stdout.write(`${resultsText(resultsOf(series))}\n`);
  if (neighbour) process.stdout.write(`${neighbourText(neighbour)}\n`);
  // Both parts are in one document.
  if (!series || !neighbour) return;
  const files = benchmarkFiles(series, neighbour, options, machine);
  if (!options.quick) await writeDocuments(files);
});
