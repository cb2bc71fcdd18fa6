import { sendAtOnce } from '../world/moves.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 4,
  name: 'double-click-two-replicas',
  title: 'Double click, two replicas',
  story: 'The same request arrives at both replicas at once.',
  async play(world) {
    await sendAtOnce(world, world.newRequest(), ['A', 'B']);
    return world.verdict(1);
  },
};
