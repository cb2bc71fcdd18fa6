import type { BenchDatabase, Effects } from '../database.js';
import { checkHonesty } from '../honesty.js';
import type { Measurement } from '../measurement.js';
import { QUIET_ACCOUNT } from './accounts.js';
import type { Reading } from './arena.js';
import type { Attack } from './attacks.js';

/** Everything that is in the database before a measurement, counted. */
export interface Counts {
  all: Effects;
  quiet: AccountEffects;
}

/** The effects of one account's charges, counted. */
interface AccountEffects {
  succeeded: number;
  captures: number;
  /** Idempotency keys with a reply. */
  completed: number;
}

/** Counts all effects, and those of account B, once nothing is in flight. */
export async function countEffects(database: BenchDatabase): Promise<Counts> {
  await database.quiescence();
  return { all: await database.effects(), quiet: await effectsOf(database, QUIET_ACCOUNT) };
}

async function effectsOf(database: BenchDatabase, accountId: string): Promise<AccountEffects> {
  const [row] = await database.sql<AccountEffects & Record<string, unknown>>(
    `SELECT (SELECT count(*)::int FROM charges WHERE account_id = $1 AND status = 'succeeded') AS succeeded,
            (SELECT count(*)::int FROM bank.captures WHERE account_id = $1) AS captures,
            (SELECT count(*)::int FROM processed_requests WHERE account_id = $1 AND completed_at IS NOT NULL) AS completed`,
    [accountId],
  );
  if (!row) throw new Error('A SELECT without FROM returned no row');
  return row;
}

/**
 * Checks that every request was answered as it must be, that account B has exactly the charges it was told of, and that
 * there are no other effects than those of account B and its neighbour.
 *
 * @param effect what each request of the neighbour leaves in the database if it is answered with 200
 * @throws Error that says what is wrong
 */
export async function checkReading(
  { quiet, neighbour }: Reading,
  effect: Attack['effect'],
  database: BenchDatabase,
  before: Counts,
): Promise<void> {
  if (neighbour) checkAnswers(neighbour);
  await checkHonesty({ effects: 'each', keyed: true }, together(quiet, effect, neighbour), database, before.all);
  const after = await effectsOf(database, QUIET_ACCOUNT);
  for (const name of ['succeeded', 'captures', 'completed'] as const) {
    const grown = after[name] - before.quiet[name];
    if (grown !== quiet.answered) {
      throw new Error(`account B was told of ${quiet.answered} charges, but the database has ${grown} more (${name})`);
    }
  }
}

/** @throws Error if an answer of the neighbour was not as it must be, or did not come */
export function checkAnswers({ answered, refused, broken, statuses }: Measurement): void {
  const given = JSON.stringify(statuses);
  if (answered === 0) throw new Error('the neighbour got no answer');
  if (refused > 0) throw new Error(`${refused} answers to the neighbour had a wrong status, of ${given}`);
  if (broken > 0) throw new Error(`${broken} requests of the neighbour got no answer`);
}

/** The charges of account B and its neighbour, as one measurement. */
function together(quiet: Measurement, effect: Attack['effect'], neighbour: Measurement | undefined): Measurement {
  if (!neighbour || effect === 'none') return quiet;
  return {
    ...quiet,
    // An attack that is refused for its number (503) has no effect.
    answered: quiet.answered + (neighbour.statuses[200] ?? 0),
    sent: quiet.sent + neighbour.sent,
  };
}
