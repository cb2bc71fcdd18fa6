import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTool } from '../../harness/processes.js';
import { runCases } from '../../harness/suite.js';
import { History } from '../chaos/history.js';
import { SCENES } from './scenes.js';
import { judge } from './judge.js';
import { moveLargeAccount } from './large-account.js';
import { Traffic } from './traffic.js';
import { World } from './world.js';

/** The exit code if a case has failed. */
const FAILED = 1;

async function main(): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'payments-cells-'));
  // Also if a signal ends this process. The servers of PostgreSQL have been killed by then.
  process.on('exit', (code) => {
    if (code === FAILED) keep(directory);
    else rmSync(directory, { recursive: true, force: true, maxRetries: 10 });
  });
  const seed = Math.floor(Math.random() * 2 ** 32);
  process.stdout.write(`seed ${seed}\n`);
  const world = await World.start(directory);
  try {
    const traffic = new Traffic(new History(join(directory, 'history.jsonl')), world.router, seed);
    const scenes = Object.entries(SCENES).map(([name, scene]) => ({ name, run: () => scene(world, traffic) }));
    return await runCases([
      ...scenes,
      { name: 'the checker of the chaos run finds the run valid', run: () => judge(world, traffic) },
      { name: 'an account with a long history is closed for less than 3 s', run: () => moveLargeAccount(world) },
    ]);
  } finally {
    await world.end();
  }
}

/** Keeps what helps to find the cause, without the passwords of the databases. */
function keep(directory: string): void {
  rmSync(join(directory, 'cells.json'), { force: true });
  process.stdout.write(`The history of the clients and the journal of the bank are in ${directory}\n`);
}

await runTool(main);
