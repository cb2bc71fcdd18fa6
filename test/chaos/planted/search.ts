import type { RunResult } from '../run.js';
import type { PlantedBug } from './bugs.js';

/**
 * Most faults hit a moment of their own choosing, so a bug that needs a race may stay hidden in one run. It has so many, each with
 * its own seed and database. A checker that is blind to the bug finds it in none of them.
 */
const ROUNDS = 4;

/** What came of a planted bug. It is missed only if its faults have landed: otherwise the checker had nothing to see. */
export interface Search {
  readonly end: 'found' | 'MISSED' | 'NOT BROUGHT OUT';
  /** When it was found, and what else it breaks; or what has not landed. */
  readonly about: string;
}

/**
 * Runs the service with a planted bug until the checker finds what the bug breaks.
 *
 * @param runRound one run, with the number of its round
 * @param landings of each kind of fault, for which a run goes on
 */
export async function searchFor(
  { breaks }: Pick<PlantedBug, 'breaks'>,
  runRound: (round: number) => Promise<Pick<RunResult, 'violations' | 'faults'>>,
  landings: number,
): Promise<Search> {
  for (let round = 1; round <= ROUNDS; round++) {
    const { violations, faults } = await runRound(round);
    const broken = new Set(violations.map(({ invariant }) => invariant));
    if (broken.delete(breaks)) return { end: 'found', about: [`round ${round}`, ...broken].join(', also ') };
    for (const [kind, { landed }] of faults) {
      if (landed < landings)
        return { end: 'NOT BROUGHT OUT', about: `${kind} has landed ${landed} times of ${landings}` };
    }
  }
  return { end: 'MISSED', about: `${ROUNDS} rounds` };
}
