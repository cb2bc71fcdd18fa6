import type { Effects } from '../../harness/effects.js';
import type { AllEffects, BenchDatabase } from '../database.js';
import { checkHonesty } from '../honesty.js';
import type { Measurement } from '../measurement.js';
import { QUIET_ACCOUNT } from './accounts.js';
import type { Reading } from './arena.js';
import type { Attack } from './attacks.js';

/** The effects before a measurement: all of them, and those of account B. */
export interface Counts {
  all: AllEffects;
  quiet: Effects;
}

/** Counts all effects, and those of account B, once nothing is in flight. */
export async function countEffects(database: BenchDatabase): Promise<Counts> {
  await database.quiescence();
  return { all: await database.effects(), quiet: await database.effectsOf(QUIET_ACCOUNT) };
}

/**
 * Checks that every answer was allowed, that account B has exactly the charges that were acknowledged, and that there are no effects
 * except those of account B and its neighbour.
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
  const after = await database.effectsOf(QUIET_ACCOUNT);
  for (const name of ['succeeded', 'captures', 'completed'] as const) {
    const grown = after[name] - before.quiet[name];
    if (grown !== quiet.answered) {
      throw new Error(
        `${quiet.answered} charges of account B were acknowledged, but the database has ${grown} more (${name})`,
      );
    }
  }
}

/** @throws Error if an answer to the neighbour has a status that is not allowed, or is missing */
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
    // A request that is refused because the account has too many waiting (503) has no effect.
    answered: quiet.answered + (neighbour.statuses[200] ?? 0),
    sent: quiet.sent + neighbour.sent,
  };
}
