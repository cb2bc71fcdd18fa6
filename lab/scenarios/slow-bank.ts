import { setTimeout as pause } from 'node:timers/promises';
import type { Scenario } from './scenario.js';

/** Requests of other customers, four times as many as a pool has connections. */
const WAITING = 40;
/** A replay takes a few milliseconds. */
const PATIENCE_MS = 5_000;

export const scenario: Scenario = {
  order: 11,
  name: 'slow-bank',
  title: 'Slow bank with 40 connections',
  story:
    'The bank does not answer 40 requests, and in the meantime another client repeats a request that was finished long ago.',
  decisive: ['this.db.transaction(', 'this.bank.capture({', 'this.gateway.authorize(', 'inTransaction(this'],
  async play(world) {
    const finished = world.newRequest();
    await world.client.send(finished);
    world.bank.hold();
    const waiting = Array.from({ length: WAITING }, () => world.client.send(world.newRequest()));
    await world.gathered(WAITING);
    const repeated = world.client.sendUntilSettled(finished, 'A', PATIENCE_MS);
    const answer = await Promise.race([repeated, pause(PATIENCE_MS)]);
    // A repetition that asks the bank again waits for the bank, and not for a connection.
    const held = answer !== undefined || world.bank.captured > WAITING;
    world.bank.behave();
    await Promise.all([...waiting, repeated]);
    const sentence = `The bank held ${WAITING} requests, and a request that needs no bank got no reply: all connections were in use.`;
    return world.verdict(WAITING + 1, [{ invariant: 'others unharmed', held, sentence }]);
  },
};
