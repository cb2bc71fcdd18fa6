import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endProcesses } from '../../bench/processes.js';
import { Progress } from '../../bench/progress.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { Arena } from './arena.js';
import { type Options, readOptions, USAGE, UsageError } from './options.js';
import { run, type RunResult } from './run.js';

const print = (text: string) => void process.stdout.write(`${text}\n`);
/** The service as it is. */
const BUILD = fileURLToPath(new URL('../..', import.meta.url));
const VIOLATIONS_SHOWN = 20;

async function random(postgres: EmbeddedPostgres, options: Options): Promise<boolean> {
  const { seed, seconds, replicas, faults } = options;
  const directory = join('.chaos', String(seed));
  print(`seed ${seed}: ${seconds} s, ${replicas} replicas, ${faults.length} kinds of faults`);
  const arena = await Arena.start({ postgres, name: 'chaos', build: BUILD, replicas, directory });
  const result = await run({ arena, seed, seconds, faults, progress: new Progress(seconds) });
  await arena.end();
  for (const [kind, { attempted, landed }] of result.faults) {
    print(`  ${kind.padEnd(22)} ${String(attempted).padStart(5)} attempted ${String(landed).padStart(5)} landed`);
  }
  for (const { invariant, about } of result.violations.slice(0, VIOLATIONS_SHOWN))
    print(`VIOLATED ${invariant}: ${about}`);
  for (const doubt of result.doubts) print(`unknown: ${doubt}`);
  if (result.verdict === 'valid') await rm(directory, { recursive: true });
  else {
    await writeFile(join(directory, 'verdict.json'), JSON.stringify(result, null, 2));
    print(
      `history, journal and logs are in ${directory}; the same again: npm run chaos -- --seed ${seed} --seconds ${seconds}`,
    );
  }
  print(summary(seed, result));
  return result.verdict === 'valid';
}

function summary(seed: number, { counts, faults, verdict }: RunResult): string {
  const { keys, attempts, ok, fail, info } = counts;
  const landed = [...faults].map(([kind, count]) => `${kind} ${count.landed}`).join(', ');
  return `keys ${keys}, attempts ${attempts} (ok ${ok}, fail ${fail}, info ${info}); landed: ${landed}; seed ${seed}; ${verdict}`;
}

async function main(options: Options): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'payments-chaos-'));
  const postgres = await EmbeddedPostgres.start({ directory, durable: true, throwaway: true });
  try {
    return (await random(postgres, options)) ? 0 : 1;
  } finally {
    await endProcesses();
    await postgres.stop();
  }
}

try {
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') process.stdout.write(USAGE);
  else process.exitCode = await main(options);
} catch (error) {
  process.stderr.write(error instanceof UsageError ? `${error.message}\n\n${USAGE}` : `${(error as Error).stack}\n`);
  process.exitCode = 2;
}
