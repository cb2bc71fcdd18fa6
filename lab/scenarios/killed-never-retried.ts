import { killAfterCapture } from '../world/moves.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 8,
  name: 'killed-never-retried',
  title: 'Killed between the commits, never retried',
  story: 'The bank takes the money, the process is killed before it gets the answer, and the client never comes back.',
  decisive: ['this.bank.capture({', 'held.locked_until <', 'async resume(', 'isCompleting(unit)'],
  async play(world) {
    await killAfterCapture(world, world.newRequest());
    return world.verdict(1);
  },
};
