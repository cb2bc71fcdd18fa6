import type { RunResult } from '../run.js';
import type { PlantedBug } from './bugs.js';

/**
 * Number of runs in which a bug may be found, each with its own seed and database. Faults hit a random moment, so a bug that needs a race
 * may stay hidden in one run. A checker that cannot see the bug finds it in none of the runs.
 */
const ROUNDS = 4;

/** The result for a planted bug. The bug counts as missed only if its faults have landed, because the checker had nothing to see otherwise. */
export interface Search {
  readonly end: 'found' | 'MISSED' | 'NOT BROUGHT OUT';
  /** The round in which the bug was found and what else it breaks, or the fault that has not landed. */
  readonly about: string;
}

/**
 * Runs the service with a planted bug until the checker finds what the bug breaks.
 *
 * @param runRound one run, with the number of its round
 * @param landings how often each kind of fault has to land in a run
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
