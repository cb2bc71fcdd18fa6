import { OF_A_REPETITION } from './decisive-lines.js';
import type { Scenario } from './scenario.js';

/** The steps of the ladder keep keys for ever, so there the world deletes the key, as an operator would. */
export const scenario: Scenario = {
  order: 13,
  name: 'retry-after-expiry',
  title: 'Retry after the key has expired',
  story: 'The key is no longer kept, so the same request is a new one: it must have a charge and a capture of its own.',
  decisive: OF_A_REPETITION,
  async play(world) {
    await world.shortenRetention();
    const request = world.newRequest();
    await world.client.send(request);
    await world.expire(request.key);
    await world.client.send({ ...request, nth: 2 });
    const { 'bank.captures': captures } = await world.snapshot();
    const held = captures.length === 2;
    const sentence = 'The new request has no capture of its own.';
    return world.verdict(2, [{ invariant: 'books agree', held, sentence }]);
  },
};
