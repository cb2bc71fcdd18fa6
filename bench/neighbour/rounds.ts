import type { BenchServer } from '../database.js';
import type { Options } from '../options.js';
import { Progress } from '../../harness/progress.js';
import { Arena, type Reading } from './arena.js';
import { type Attack, ATTACKS } from './attacks.js';
import { attackLoad, honestEquivalent, type Load } from './loads.js';

/** A round takes more than a minute. Three is the smallest number of rounds whose median ignores the slowest and the fastest round. */
const MAX_ROUNDS = 3;

/** The loads beside which account B is measured. The attack comes before honest load, because honest load sends as many requests as the attack did. */
const BESIDES = ['alone', 'attack', 'honest'] as const;
export type Beside = (typeof BESIDES)[number];

/** One attack, round by round. */
export interface AttackSeries {
  attack: Attack;
  readings: Record<Beside, Reading[]>;
}

/**
 * Measures account B alone, beside each attack, and beside honest load of as many requests, all three in each round.
 *
 * @throws Error if an answer or an effect is not what it must be
 */
export async function measureAttacks(server: BenchServer, options: Options): Promise<AttackSeries[]> {
  const arena = await Arena.start(server);
  if (!options.quick) await arena.warmUp();
  const rounds = Math.min(options.rounds, MAX_ROUNDS);
  // A quick run takes half the time, because this scenario is the longest part of a quick run even then.
  const seconds = options.quick ? options.seconds / 2 : options.seconds;
  const all = ATTACKS.map((attack): AttackSeries => ({ attack, readings: { alone: [], attack: [], honest: [] } }));
  const progress = new Progress(rounds * all.length * BESIDES.length);
  for (let round = 1; round <= rounds; round++) {
    for (const series of all) {
      // Every other round goes backwards, so that no load always follows the same other load.
      for (const beside of round % 2 === 1 ? BESIDES : BESIDES.toReversed()) {
        const label = `round ${round} of ${rounds}, a noisy neighbour, ${series.attack.name}, ${beside}: `;
        const span = { prefix: `${series.attack.id}-${beside}-${round}`, seconds };
        const onProgress = (rate: number) => progress.show(label + perSecond(rate));
        const measured = arena.measure(loadOf(series, beside, seconds), span, onProgress);
        const reading = await measured.catch((error: unknown) => {
          throw new Error(`${label}${(error as Error).message}\n${arena.output}`, { cause: error });
        });
        series.readings[beside].push(reading);
        progress.finish(label + perSecond(reading.quiet.requestsPerSecond));
      }
    }
  }
  await arena.end();
  return all;
}

const perSecond = (rate: number) => `${Math.round(rate).toLocaleString('en')} charges/s of account B`;

function loadOf({ attack, readings }: AttackSeries, beside: Beside, seconds: number): Load | undefined {
  switch (beside) {
    case 'alone':
      return undefined;
    case 'attack':
      return attackLoad(attack);
    case 'honest': {
      const attackers = readings.attack.at(-1)?.neighbour;
      if (!attackers) throw new Error(`${attack.name} was not measured before honest load of as many requests`);
      return honestEquivalent(attack, attackers, seconds);
    }
  }
}
