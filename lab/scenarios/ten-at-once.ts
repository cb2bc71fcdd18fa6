import { sendAtOnce } from '../world/moves.js';
import { OF_A_RACE } from './decisive-lines.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 5,
  name: 'ten-at-once',
  title: 'Ten at once',
  story: 'The same request arrives ten times at once, five times at each replica.',
  decisive: OF_A_RACE,
  async play(world) {
    await sendAtOnce(world, world.newRequest(), ['A', 'B', 'A', 'B', 'A', 'B', 'A', 'B', 'A', 'B']);
    return world.verdict(1);
  },
};
