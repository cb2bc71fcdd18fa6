import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 6,
  name: 'other-body-same-key',
  title: 'Another body with the same key',
  story: 'A client uses one key for two different amounts, by mistake; the second request must be refused.',
  decisive: [
    '.request_body !== ',
    'held.request_body =',
    '@Body() { amount',
    'request.claim(',
    'expectSameRequest(unit',
  ],
  async play(world) {
    const request = world.newRequest(1999);
    await world.client.send(request);
    const other = await world.client.send({ ...request, amount: 5000, nth: 2 });
    const held = other.kind === 'reply' && other.status === 422;
    const status = other.kind === 'reply' ? other.status : other.reason;
    const sentence = `The second request was not refused: it got ${status}, and two different requests have one key.`;
    return world.verdict(1, [{ invariant: 'same request', held, sentence }]);
  },
};
