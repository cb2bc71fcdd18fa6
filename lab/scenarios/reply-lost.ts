import { OF_A_REPETITION } from './decisive-lines.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 2,
  name: 'reply-lost',
  title: 'Reply lost and retried',
  story: 'The charge succeeds, the reply is lost on its way, and the client sends the request again.',
  decisive: OF_A_REPETITION,
  async play(world) {
    const request = world.newRequest();
    world.proxy.loseNextReply();
    await world.client.send(request);
    await world.client.sendUntilSettled(request, 'A', world.patienceMs);
    return world.verdict(1);
  },
};
