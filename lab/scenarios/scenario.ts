import type { Verdict } from '../world/verdict.js';
import type { World } from '../world/world.js';

/** One thing that goes wrong. The same file is played by `npm run ladder` and by the page. */
export interface Scenario {
  /** The position in the matrix and in the list of the page, from 1. */
  order: number;
  /** The name in links and options, which is the name of the file. */
  name: string;
  title: string;
  /** One sentence about what happens. */
  story: string;
  /** The page marks each line of an implementation that contains one of these texts, because these lines decide the scenario. */
  decisive: readonly string[];
  /** Plays the scenario in a world that was reset, with real faults, and judges the result. */
  play(world: World): Promise<Verdict>;
}
