import { killAfterCapture } from '../world/moves.js';
import { OF_AN_INTERRUPTION } from './decisive-lines.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 7,
  name: 'killed-after-capture',
  title: 'Killed after the bank captured, then retried',
  story:
    'The bank takes the money, the process is killed before it gets the answer, and the client retries at the other replica.',
  decisive: OF_AN_INTERRUPTION,
  async play(world) {
    const request = world.newRequest();
    await killAfterCapture(world, request);
    await world.client.sendUntilSettled(request, 'B', world.patienceMs);
    return world.verdict(1);
  },
};
