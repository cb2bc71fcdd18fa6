import { withServer } from './database.js';
import { writeDocuments } from './documents.js';
import type { LoadJob } from './load.js';
import { describeMachine } from './machine.js';
import { optionsOf } from './options.js';
import { measureCell } from './scale/cell.js';
import { scaleDocument, scaleText } from './scale/document.js';
import { Worker } from './worker.js';

const options = optionsOf({
  command: 'npm run bench:scale',
  usual: { rounds: 5, seconds: 10 },
  quick: { rounds: 1, seconds: 1 },
  parts: [],
});

await withServer(async (server) => {
  const machine = await describeMachine(server);
  const cell = await measureCell(server, await Worker.start<LoadJob>('bench/load.js'), options);
  process.stdout.write(`${scaleText(cell)}\n`);
  if (!options.quick) await writeDocuments({ 'scale.md': scaleDocument(cell, options, machine) });
});
