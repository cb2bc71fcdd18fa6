import type { Verdict } from '../world/verdict.js';
import type { World } from '../world/world.js';
import type { Scenario } from './scenario.js';

/**
 * Plays a scenario on empty tables.
 *
 * @param begins is called as soon as the tables are empty
 * @throws Error if a fault of the scenario has not happened, because the verdict would then prove nothing
 */
export async function play(world: World, scenario: Scenario, begins?: () => void): Promise<Verdict> {
  await world.reset();
  begins?.();
  const verdict = await scenario.play(world);
  const pending = world.pendingFaults;
  if (pending.length > 0) throw new Error(`${scenario.name}: ${pending.join(', ')}, and has not happened`);
  return verdict;
}
