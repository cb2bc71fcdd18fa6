import { OF_A_REPETITION } from './decisive-lines.js';
import type { Scenario } from './scenario.js';

/**
 * The client of this file behaves as Chromium does: if a connection that was used before closes before the first byte of a reply, it sends
 * the request again by itself, also a POST. The application does not notice it. RFC 9110, section 9.2.2, allows it only for idempotent methods.
 */
export const scenario: Scenario = {
  order: 1,
  name: 'browser-repeats',
  title: 'The browser repeats a POST by itself',
  story:
    'The customer clicks once, the connection closes before the reply, and the browser sends the request again without asking.',
  decisive: OF_A_REPETITION,
  async play(world) {
    world.proxy.loseNextReply();
    await world.client.sendAsBrowser(world.newRequest());
    return world.verdict(1);
  },
};
