import type { BenchServer } from '../database.js';
import type { Options } from '../options.js';
import { watchProcessors } from '../processor-time.js';
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
  const { charges, ...plan } = options.quick ? QUICK_CRASH : USUAL_CRASH;
  const processorsUsed = await watchProcessors();
  const seconds = await measureCrash(server, { charges, ...plan });
  return neighbourResult(series, { charges, seconds, processors: await processorsUsed() }, options);
}
