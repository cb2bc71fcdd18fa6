import { sendAtOnce } from '../world/moves.js';
import { OF_A_RACE } from './decisive-lines.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 4,
  name: 'double-click-two-replicas',
  title: 'Double click, two replicas',
  story: 'The same request arrives at both replicas at once.',
  decisive: OF_A_RACE,
  async play(world) {
    await sendAtOnce(world, world.newRequest(), ['A', 'B']);
    return world.verdict(1);
  },
};
