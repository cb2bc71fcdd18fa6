import { setTimeout as pause } from 'node:timers/promises';
import { sendUntilCaptured } from '../world/moves.js';
import type { Scenario } from './scenario.js';

export const scenario: Scenario = {
  order: 9,
  name: 'frozen-then-woken',
  title: 'Frozen longer than the lease, then woken',
  story:
    'The process freezes while the bank answers, the client retries at the other replica, and then the first process continues.',
  decisive: [
    'this.bank.capture({',
    'SET response_body = ',
    'lock_token = ${token}',
    'if (!held)',
    'request.complete(',
    'store.complete(',
  ],
  async play(world) {
    const request = world.newRequest();
    const { first } = await sendUntilCaptured(world, request);
    world.replicas.A.freeze();
    world.bank.behave();
    const retry = world.client.sendUntilSettled(request, 'B', 2 * world.patienceMs);
    // Without a lease, the retry cannot end before the first process continues.
    await Promise.race([retry, pause(world.patienceMs)]);
    world.replicas.A.wake();
    await Promise.all([first, retry]);
    return world.verdict(1);
  },
};
