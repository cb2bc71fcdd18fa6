import { chart } from './chart.js';
import { withServer } from './database.js';
import { writeDocuments } from './documents.js';
import { growthDocument, growthPanels, growthText } from './growth/document.js';
import { measureManyKeys } from './growth/many-keys.js';
import { measureMemory } from './growth/memory.js';
import { measureSweeping } from './growth/sweeping.js';
import type { LoadJob } from './load.js';
import { describeMachine } from './machine.js';
import { optionsOf } from './options.js';
import { Worker } from './worker.js';

/** 360,000 charges are an hour at a hundred charges a second. */
const USUAL = { recordedKeys: 5_000_000, expiredKeys: 1_000_000, undisturbedSlices: 6, charges: 360_000 };
const QUICK = { recordedKeys: 20_000, expiredKeys: 5_000, undisturbedSlices: 1, charges: 1_000 };

const options = optionsOf({
  command: 'npm run bench:growth',
  usual: { rounds: 5, seconds: 10 },
  quick: { rounds: 1, seconds: 1 },
  parts: [],
});

await withServer(async (server) => {
  const { recordedKeys, expiredKeys, undisturbedSlices, charges } = options.quick ? QUICK : USUAL;
  const machine = await describeMachine(server);
  const load = await Worker.start<LoadJob>('bench/load.js');
  const growth = {
    memory: await measureMemory(server, load, charges),
    sweeping: await measureSweeping(server, load, {
      expiredKeys,
      sliceSeconds: options.seconds,
      undisturbedSlices,
      awaitsVacuum: !options.quick,
    }),
    manyKeys: await measureManyKeys(server, load, recordedKeys, options),
  };
  process.stdout.write(`${growthText(growth)}\n`);
  const files = {
    'growth.md': growthDocument(growth, options, machine),
    'growth.svg': chart('How the cost grows', growthPanels(growth)),
  };
  if (!options.quick) await writeDocuments(files);
});
