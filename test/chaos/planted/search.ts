import type { RunResult } from '../run.js';
import type { PlantedBug } from './bugs.js';

/**
 * Maximum number of runs for one bug. Each run has its own seed and database. Faults hit at a random moment, so a bug that needs a race may
 * stay hidden in one run. If the checker cannot see the bug, the checker finds the bug in none of the runs.
 */
const ROUNDS = 4;

/**
 * The result for a planted bug. A bug is `MISSED` only if its faults have landed in every round. If a fault has not landed, the bug is
 * `NOT PROVOKED`, because the checker had nothing to find.
 */
export interface Search {
  readonly end: 'found' | 'MISSED' | 'NOT PROVOKED';
  /**
   * For `found`: the round, and the other invariants that were broken. For `NOT PROVOKED`: the fault that has not landed. For `MISSED`: the
   * number of rounds.
   */
  readonly about: string;
}

/**
 * Runs the service with a planted bug until the checker reports the invariant that the bug breaks, at most {@link ROUNDS} times.
 *
 * @param runRound runs the service once, and gets the number of the round
 * @param landings minimum number of times that each kind of fault has to land in a run
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
      if (landed < landings) return { end: 'NOT PROVOKED', about: `${kind} has landed ${landed} times of ${landings}` };
    }
  }
  return { end: 'MISSED', about: `${ROUNDS} rounds` };
}
