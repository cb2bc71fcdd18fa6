import { sendAtOnce } from '../world/moves.js';
import { OF_A_RACE } from './decisive-lines.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 3,
  name: 'double-click-one-replica',
  title: 'Double click, one replica',
  story: 'The same request arrives twice at once at one replica.',
  decisive: OF_A_RACE,
  async play(world) {
    await sendAtOnce(world, world.newRequest(), ['A', 'A']);
    return world.verdict(1);
  },
};
