import { afterAll, beforeAll, describe, it } from '@jest/globals';
import fc from 'fast-check';
import { expectAgreement } from './fuzz/agreement.js';
import { commandsOf, type Model } from './fuzz/commands.js';
import { emptyLedger } from './fuzz/ledger.js';
import { TWO_ACCOUNTS } from './support/client.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { startService, type TestService } from './support/service.js';
import { reset } from './support/state.js';

const MAX_COMMANDS = 40;
/** Sequences for each seed: 8 seconds, or on a slow machine as many as there is time for. */
const RUNS = 60;
/** After that none is run any more, neither to find what fails nor to make it smaller. */
const TIME_LIMIT_MS = 20_000;
const FIXED_SEED = 20_261_124;
/** `FUZZ_SEED=… npm test -- fuzz` repeats a run, but for what happens at once. */
const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);

let database: TestDatabase;
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, TWO_ACCOUNTS);
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

describe('any sequence of requests, of two accounts and some of them at once', () => {
  it.each([
    ['a fixed', FIXED_SEED],
    ['another', SEED],
  ])(
    'is answered by the contract and leaves what it says: from %s seed, %i',
    async (_, seed) => {
      const deadline = performance.now() + TIME_LIMIT_MS;
      await fc.assert(
        fc.asyncProperty(commandsOf(MAX_COMMANDS), async (sequence) => {
          // fast-check's own time limit would leave requests under way.
          if (performance.now() > deadline) return;
          await reset(database);
          const model: Model = { state: { acct_a: emptyLedger(), acct_b: emptyLedger() }, sent: [] };
          await fc.asyncModelRun(() => ({ model, real: { service, database } }), sequence);
          await expectAgreement(database, model.state);
        }),
        { seed, numRuns: RUNS, reporter },
      );
    },
    2 * TIME_LIMIT_MS,
  );
});

function reporter<T>(run: fc.RunDetails<T>): void {
  if (!run.failed) return;
  const message = `${fc.defaultReportMessage(run)}\nTo repeat it: FUZZ_SEED=${run.seed} npm test -- fuzz`;
  throw new Error(message, { cause: run.errorInstance });
}
