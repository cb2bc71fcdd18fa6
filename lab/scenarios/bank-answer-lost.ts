import { OF_AN_INTERRUPTION } from './decisive-lines.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 12,
  name: 'bank-answer-lost',
  title: "The bank's answer lost, then retried",
  story:
    'The bank takes the money, its answer is lost, the service says that it does not know, and the client retries.',
  decisive: OF_AN_INTERRUPTION,
  async play(world) {
    world.bank.loseNextAnswer();
    await world.client.sendUntilSettled(world.newRequest(), 'A', world.patienceMs);
    return world.verdict(1);
  },
};
