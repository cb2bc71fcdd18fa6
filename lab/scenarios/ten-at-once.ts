import { sendAtOnce } from '../world/moves.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 5,
  name: 'ten-at-once',
  title: 'Ten at once',
  story: 'The same request arrives ten times at once, five times at each replica.',
  async play(world) {
    await sendAtOnce(world, world.newRequest(), ['A', 'B', 'A', 'B', 'A', 'B', 'A', 'B', 'A', 'B']);
    return world.verdict(1);
  },
};
