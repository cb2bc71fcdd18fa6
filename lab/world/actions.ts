import { type Fault, REPLICAS, type ReplicaName } from './events.js';
import type { World } from './world.js';

/** Everything that a person can do in the laboratory. */
export type ActionName = Fault | 'send' | 'send-again' | 'send-ten';

const TEN: readonly ReplicaName[] = Array.from({ length: 5 }, () => REPLICAS).flat();

/** A request runs on after its action has returned. */
export const ACTIONS: Record<ActionName, (world: World, replica: ReplicaName) => unknown> = {
  send: (world, replica) => void world.client.send(world.newRequest(), replica),
  'send-again': (world, replica) => void world.client.send(world.lastRequest ?? world.newRequest(), replica),
  'send-ten': (world) => {
    const request = world.newRequest();
    TEN.forEach((replica) => void world.client.send(request, replica));
  },
  'lose-reply': (world) => world.proxy.loseNextReply(),
  'lose-bank-answer': (world) => world.bank.loseNextAnswer(),
  'lose-commit-answer': (world, replica) => world.replicas[replica].database.loseCommitAnswer(),
  'hold-bank': (world) => world.bank.hold(),
  'release-bank': (world) => world.bank.behave(),
  kill: (world, replica) => world.replicas[replica].kill(),
  start: (world, replica) => world.startReplicas([replica]),
  freeze: (world, replica) => world.replicas[replica].freeze(),
  wake: (world, replica) => world.replicas[replica].wake(),
  'end-leases': (world) => world.endLeases(),
};
