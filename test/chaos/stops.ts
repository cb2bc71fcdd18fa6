import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Arena } from './arena.js';
import { attempt } from './attempt.js';
import { check } from './checker/checker.js';
import type { Verdict } from './checker/verdict.js';
import { recordedLongAgo } from './expiring.js';
import type { StopCase, Subject } from './fail-points.js';
import { type Operation, type Outcome, parse, type Reply } from './history.js';
import { chargeOf, ITEMS, orderOf, paymentOf, refundOf } from './operations.js';
import { ACCOUNTS, type ChaosReplica } from './replicas.js';
import { FREEZE_MS, PATIENCE_MS } from './timing.js';

/** How long a process gets new requests until one of them reaches the step. */
const REACH_MS = PATIENCE_MS;
const PAUSE_MS = 30;
/** The amount of a charge that is refunded, in minor units. */
const REFUNDABLE = 1_000_000;
/** A key that is inserted for the sweep has expired this long ago. */
const EXPIRED_MS = 1_000;
/** Steps of background work, which any replica may do. */
const IN_THE_BACKGROUND = /^(take-over|fresh|release|relay|consumer|sweep)/;
/** Steps of messages whose delivery in the transaction that deletes them has failed. */
const AFTER_A_FAILURE = /^(fresh\.rolled-back|release|relay|consumer)/;

/**
 * Stops one of two processes at a step of the protocol, lets the other process finish the work, and restarts or wakes the first one.
 *
 * @param subject the requests that reach the step
 * @returns the verdict on everything that has happened in the arena so far; unknown if the step was not reached
 */
export async function stopAt(arena: Arena, { point, stop }: StopCase, subject: Subject): Promise<Verdict> {
  const { history } = arena;
  const [target, other] = arena.replicas as [ChaosReplica, ChaosReplica];
  const operations: Operation[] = [];
  const attempts: Promise<Outcome>[] = [];
  const begin = (operation: Operation, replica: ChaosReplica) => {
    operations.push(operation);
    history.add({ type: 'operation', operation });
    const outcome = attempt(history, operation, replica);
    attempts.push(outcome);
    return outcome;
  };
  const chargeId = subject === 'refunds' ? await refundable(arena) : '';
  let last: Operation;
  const request = (n: number) => {
    // Every other refund exceeds the charge, because a refusal has two commits as well.
    if (subject === 'refunds') return refundOf(ACCOUNT, newName('refund'), chargeId, n % 2 ? 2 * REFUNDABLE : 1);
    // Every third request pays for the order before it.
    return (last = n % 3 === 0 ? charge() : n % 3 === 1 ? order() : paymentOf(last, newName('payment')));
  };
  const kind = `${point}, ${stop}`;
  history.add({ type: 'fault', kind, state: 'attempted', about: '' });
  let reached: boolean | undefined;
  const reach = target.stopAt({ point, stop }, REACH_MS).then((is) => (reached = is));
  // A request can only be taken over if it is unfinished, so the bank is down for a while.
  if (point.startsWith('take-over')) {
    arena.setBankFault('down');
    // The first requests may reach the bank before the command that makes it unavailable.
    while ((await begin(request(0), other)).type === 'ok');
  }
  // Only one replica does a piece of background work. The other replica is frozen, so that the target does this work.
  if (IN_THE_BACKGROUND.test(point)) other.signal('SIGSTOP');
  // A delivery fails if it cannot lock the balance. Then the message is released, and the inbox can process it.
  const isReleased = async () => reached !== undefined || (await arena.database.query(RELEASED)).length > 0;
  const failing = AFTER_A_FAILURE.test(point) && arena.database.whileLocked(ACCOUNT, () => until(isReleased));
  for (let n = 0; reached === undefined; n++) {
    if (point.startsWith('sweep')) operations.push(await expired(arena));
    else if (!point.startsWith('take-over')) void begin(request(n), target);
    for (let looks = 0; reached === undefined && looks < 10; looks++) await pause(PAUSE_MS);
  }
  await reach;
  await failing;
  other.signal('SIGCONT');
  arena.setBankFault(undefined);
  if (reached) history.add({ type: 'fault', kind, state: 'landed', about: '' });
  if (reached && stop === 'kill') {
    await target.ended();
    await target.begin();
  } else if (reached) {
    await pause(FREEZE_MS);
    target.signal('SIGCONT');
  }
  await Promise.all(attempts);
  await Promise.all(operations.map((operation) => untilAnswered(arena, operation)));
  await arena.quiescence(PATIENCE_MS);
  // Each operation is sent once more, so that the checker can compare the replies.
  await Promise.all(operations.map((operation) => untilAnswered(arena, operation)));
  const end = await arena.read('end');
  history.add({ type: 'phase', name: 'end' });
  return check(arena.evidence(end, end, [kind]));
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  while (!(await isTrue())) await pause(PAUSE_MS);
}

const RELEASED = 'SELECT FROM outbox WHERE published_at IS NULL AND available_at IS NOT NULL';

async function untilAnswered({ history, replicas }: Arena, operation: Operation): Promise<Reply | undefined> {
  const deadline = performance.now() + PATIENCE_MS;
  for (let n = 0; performance.now() < deadline; n++) {
    const outcome = await attempt(history, operation, replicas[n % replicas.length] as ChaosReplica);
    if (outcome.type === 'ok') return outcome.reply;
    await pause(PAUSE_MS);
  }
  return undefined;
}

/** Makes a charge that is larger than all its refunds. Returns its id. */
async function refundable(arena: Arena): Promise<string> {
  const operation = chargeOf(ACCOUNT, newName('charge'), REFUNDABLE);
  arena.history.add({ type: 'operation', operation });
  const reply = await untilAnswered(arena, operation);
  return String(parse(reply?.body ?? '')['id']);
}

async function expired(arena: Arena): Promise<Operation> {
  const operation = charge();
  const expiresAt = Date.now() - EXPIRED_MS;
  arena.history.add({ type: 'operation', operation });
  const reply = await recordedLongAgo(arena, operation, expiresAt);
  arena.history.add({ type: 'recorded', operation: operation.id, reply, expiresAt });
  return operation;
}

const ACCOUNT = ACCOUNTS[0] as string;
const newName = (kind: string) => `${kind}-${randomUUID().slice(0, 8)}`;
const charge = () => chargeOf(ACCOUNT, newName('charge'), 1_999);
const order = () =>
  orderOf(ACCOUNT, newName('order'), [{ item_id: ITEMS[0] as string, quantity: 1, unit_amount: 500 }], true);
