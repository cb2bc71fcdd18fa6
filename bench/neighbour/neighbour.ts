import type { BenchServer } from '../database.js';
import type { Options } from '../options.js';
import { measureCrash, QUICK_CRASH, USUAL_CRASH } from './crash.js';
import { type NeighbourResult, neighbourResult } from './results.js';
import { measureAttacks } from './rounds.js';

/**
 * Measures the latency of account B beside a neighbour on the same service that attacks it, or that is honest.
 *
 * @throws Error if an answer or an effect is not what it must be
 */
export async function measureNeighbour(server: BenchServer, options: Options): Promise<NeighbourResult> {
  const series = await measureAttacks(server, options);
  const plan = options.quick ? QUICK_CRASH : USUAL_CRASH;
  return neighbourResult(series, { charges: plan.charges, seconds: await measureCrash(server, plan) });
}
