import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runTool } from '../../harness/processes.js';
import { History } from '../chaos/history.js';
import { SCENES } from './scenes.js';
import { judge } from './judge.js';
import { moveLargeAccount } from './large-account.js';
import { Traffic } from './traffic.js';
import { World } from './world.js';

const print = (text: string) => void process.stdout.write(`${text}\n`);

async function main(): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'payments-cells-'));
  // Also if a signal ends this process. The servers of PostgreSQL have been killed by then.
  process.on('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 10 }));
  const seed = Math.floor(Math.random() * 2 ** 32);
  let failed = 0;
  let passed = 0;
  const check = async (name: string, scene: () => Promise<string>) => {
    const startedAt = performance.now();
    const outcome = await scene().then(
      (seen) => (passed++, `passed  ${name}: ${seen}`),
      (error: unknown) => (failed++, `FAILED  ${name}: ${(error as Error).message}`),
    );
    print(`${outcome} (${Math.round((performance.now() - startedAt) / 1000)} s)`);
  };
  const world = await World.start(directory);
  try {
    const traffic = new Traffic(new History(join(directory, 'history.jsonl')), world.router, seed);
    for (const [name, scene] of Object.entries(SCENES)) await check(name, () => scene(world, traffic));
    await check('the checker of the chaos run finds the run valid', () => judge(world, traffic));
    await check('an account with a long history is closed for less than 3 s', () => moveLargeAccount(world));
  } finally {
    await world.end();
  }
  print(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

await runTool(main);
