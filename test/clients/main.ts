import { strict as assert } from 'node:assert';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { optionsOfProcess, parseOptions } from '../../harness/options.js';
import { endProcesses, runTool, startAlone } from '../../harness/processes.js';
import { sqlAt } from '../../harness/sql.js';
import { type Case, runCases } from '../../harness/suite.js';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { runInChromium } from './chromium.js';
import { CLIENTS, DEFAULTS } from './clients.js';
import { differences, writeTables } from './document.js';
import { jobsOf, keyOf, type Result } from './jobs.js';
import { HeldBank } from './held-bank.js';
import { LOSSES, SETTINGS } from './losses.js';
import { LossyLine } from './lossy-line.js';
import { install, LANGUAGES } from './programs.js';
import { Verdicts } from './verdicts.js';

const USAGE = `Sends charges with the HTTP libraries that people use, through a line that loses replies, and counts the charges.

npm run test:clients [-- options]

  --write   writes the tables of docs/clients.md, instead of comparing them
  --help    shows this text
`;

const print = (text: string) => void process.stderr.write(`${text}\n`);

/** Runs the jobs of all clients at the same time, because most of them wait. */
async function runJobs(line: LossyLine, directory: string): Promise<Result[]> {
  print('installs the clients');
  const programs = await Promise.all(
    LANGUAGES.map(async (language) => [language, await install(language, directory)] as const),
  );
  print('runs the clients');
  const running = [...programs, ['chromium', runInChromium] as const].map(([runner, run]) => {
    const jobs = jobsOf(runner, line.url);
    for (const { key, loss } of jobs) line.plan(key, loss.damages);
    return run(jobs);
  });
  return (await Promise.all(running)).flat();
}

function casesOf(verdicts: Verdicts, line: LossyLine, isWriting: boolean): Case[] {
  const documented = CLIENTS.map((client) => ({
    name: `ends with one charge and the right answer after every loss: ${client.title}`,
    run: () => {
      LOSSES.forEach((loss) => verdicts.expectRight(client, loss));
      return Promise.resolve(`${verdicts.attempts('documented', client)} attempts for ${LOSSES.length} charges`);
    },
  }));
  const defaults = DEFAULTS.map((client) => ({
    name: `never charges twice with its defaults: ${client.title}`,
    run: () =>
      Promise.resolve(LOSSES.map((loss) => `${loss.title}: ${verdicts.of('default', client, loss)}`).join('; ')),
  }));
  return [
    ...documented,
    ...defaults,
    {
      name: 'charges once although Chromium sends a POST twice on its own, if its connection breaks before the reply',
      run: () => {
        const client = DEFAULTS.find(({ runner }) => runner === 'chromium');
        const loss = LOSSES.find(({ damages }) => damages.join() === 'broken');
        assert.ok(client && loss);
        const attempts = line.attempts(keyOf('default', client, loss)).length;
        assert.equal(attempts, 2, 'expected two requests for one fetch()');
        assert.equal(verdicts.of('default', client, loss), 'yes');
        return Promise.resolve('2 requests for one fetch(), and one charge');
      },
    },
    {
      name: 'finds the verdicts of this run in the tables of docs/clients.md',
      run: async () => {
        if (isWriting) await writeTables(verdicts.tables());
        const found = await differences(verdicts.tables());
        assert.deepEqual(found, [], `${found.join('\n')}\nnpm run test:clients -- --write writes the tables`);
        return isWriting ? 'written' : 'the same verdicts';
      },
    },
  ];
}

async function main(isWriting: boolean): Promise<number> {
  const directory = await mkdtemp(join(tmpdir(), 'payments-clients-'));
  // Also after a signal, which ends this process at once.
  process.once('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }));
  const postgres = await EmbeddedPostgres.start({
    directory: join(directory, 'postgres'),
    durable: true,
    throwaway: true,
  });
  try {
    const sql = sqlAt(postgres.url);
    const bank = await HeldBank.start(sql);
    const env = {
      GATEWAY_URL: bank.url,
      ...SETTINGS,
      PORT: '0',
      LOG_LEVEL: 'error',
      RECOVERY_INTERVAL_MS: '1000',
      DATABASE_URL: postgres.url,
    };
    const line = await LossyLine.start(await startAlone('src/main.js', env).served(), bank);
    const results = await runJobs(line, directory);
    const verdicts = await Verdicts.of(results, line, sql);
    return await runCases(casesOf(verdicts, line, isWriting));
  } finally {
    await endProcesses();
    await postgres.stop();
  }
}

const { write } = optionsOfProcess(
  USAGE,
  (args) => parseOptions({ args, options: { write: { type: 'boolean', default: false } } }).values,
);
await runTool(() => main(write));
