import { type Answer, type LabRequest } from './client.js';
import type { ReplicaName } from './events.js';
import type { World } from './world.js';

/** Sends the same request to several replicas at once, so that all attempts are under way before the bank answers the first one. */
export async function sendAtOnce(world: World, request: LabRequest, replicas: readonly ReplicaName[]): Promise<void> {
  world.bank.hold();
  const clicks = replicas.map((replica) => world.client.sendUntilSettled(request, replica, world.patienceMs));
  await world.gathered(replicas.length);
  world.bank.behave();
  await Promise.all(clicks);
}

/** Sends a request to replica A, and returns once the bank has taken the money and keeps its answer. */
export async function sendUntilCaptured(world: World, request: LabRequest): Promise<{ first: Promise<Answer> }> {
  world.bank.hold();
  const first = world.client.send(request, 'A');
  if (!(await world.bank.hasCaptured(1))) throw new Error('The request has not reached the bank');
  return { first };
}

/** Kills replica A after the bank has taken the money, and before the bank has answered. */
export async function killAfterCapture(world: World, request: LabRequest): Promise<void> {
  const { first } = await sendUntilCaptured(world, request);
  await world.replicas.A.kill();
  world.bank.behave();
  await first;
}
