// Goal: prove that any sequence of requests is answered as the contract says and leaves only what the contract says.
// Method: generate sequences for two replicas, judge each answer with the model in test/fuzz, and compare the database with the model.
import { afterAll, beforeAll, describe, it } from '@jest/globals';
import fc from 'fast-check';
import { expectAgreement } from '../fuzz/agreement.js';
import { commandsOf, forget, type Model } from '../fuzz/commands.js';
import { emptyLedger } from '../fuzz/ledger.js';
import { TWO_ACCOUNTS } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';

const MAX_COMMANDS = 40;
/** Sequences for each seed. They take about 8 s; a slow machine runs fewer, because of the time limit. */
const RUNS = 60;
/** After this time no further sequence runs, neither to find a failure nor to shrink it. */
const TIME_LIMIT_MS = 20_000;
const FIXED_SEED = 20_261_124;
/** `FUZZ_SEED=… npm test -- fuzz` repeats a run, except for the timing of concurrent requests. */
const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

let database: TestDatabase;
let replicas: [TestService, TestService];

beforeAll(async () => {
  database = await createDatabase();
  const start = (cacheMib: string) => startService(database.url, { ...TWO_ACCOUNTS, IDEMPOTENCY_CACHE_MIB: cacheMib });
  // One replica without a reply cache, and one with a cache.
  replicas = [await start('0'), await start('1')];
});
afterAll(async () => {
  await Promise.all((replicas ?? []).map((service) => service.stop()));
  await database?.drop();
});

describe('random sequences of requests', () => {
  it.each([
    ['a fixed', FIXED_SEED],
    ['a random', SEED],
  ])(
    'answers a random sequence of requests, some concurrent, as the contract says, from %s seed, %i',
    async (_, seed) => {
      const deadline = performance.now() + TIME_LIMIT_MS;
      await fc.assert(
        fc.asyncProperty(commandsOf(MAX_COMMANDS), async (sequence) => {
          // fast-check's own time limit would leave requests under way.
          if (performance.now() > deadline) return;
          await reset(database);
          forget(replicas);
          const nothing = { acct_a: emptyLedger(), acct_b: emptyLedger() };
          const model: Model = { possible: [nothing], sent: [], requests: 0 };
          await fc.asyncModelRun(() => ({ model, real: { replicas, database } }), sequence);
          await expectAgreement(database, model.possible);
        }),
        { seed, numRuns: RUNS, reporter },
      );
    },
  );
});

function reporter<T>(run: fc.RunDetails<T>): void {
  if (!run.failed) return;
  const message = `${fc.defaultReportMessage(run)}\nTo repeat it: FUZZ_SEED=${run.seed} npm test -- fuzz`;
  throw new Error(message, { cause: run.errorInstance });
}
