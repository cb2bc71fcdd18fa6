import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';
import { ServerResponse } from 'node:http';
import { Client } from 'pg';
import { SWEEP, TAKE_OVER } from '../../src/idempotency/upkeep/upkeep.store.js';
import { RECEIVE } from '../../src/messaging/messaging.sql.js';
import type { Arm, Disarmed, FailPoint } from './fail-points.js';

/**
 * The service as a process that can be stopped at a named step. This file wraps functions of the libraries that the service uses. The
 * source of the service does not contain the steps, so they cost nothing in production.
 */

/** Receives the name of the step synchronously, because a process that kills itself cannot send a message afterwards. */
const REPORTS_FD = 4;

let armed: Arm['arm'];
process.on('message', (message: Arm) => {
  armed = message.arm;
  if (!armed) process.send?.({ disarmed: true } satisfies Disarmed);
});
process.on('disconnect', () => process.exit());
// The parent process may have ended while this module was being loaded.
if (!process.connected) process.exit();
process.channel?.unref();

function reach(point: FailPoint): void {
  if (armed?.point !== point || armed.stop === 'lose answer') return;
  const { stop } = armed;
  disarm();
  process.kill(process.pid, stop === 'kill' ? 'SIGKILL' : 'SIGSTOP');
}

function disarm(): void {
  writeSync(REPORTS_FD, `${armed?.point}\n`);
  armed = undefined;
}

type Step =
  'claim' | 'complete' | 'take-over' | 'fresh' | 'release' | 'relay' | 'mark' | 'consumer' | 'webhook' | 'sweep';

const STEPS = new Map<string, Step>([
  ['idempotency_claim', 'claim'],
  ['idempotency_claim_all', 'claim'],
  ['idempotency_complete', 'complete'],
  ['idempotency_complete_all', 'complete'],
  ['messaging_take_fresh', 'fresh'],
  ['messaging_release_fresh', 'release'],
  ['messaging_lock_due', 'relay'],
  ['messaging_published', 'mark'],
  ['messaging_receive', 'consumer'],
  // The inbox of the bus uses the same statement under a name. A webhook that settles a charge goes on with the step `complete`.
  [RECEIVE, 'webhook'],
  [TAKE_OVER, 'take-over'],
  [SWEEP, 'sweep'],
]);
const BEFORE: Partial<Record<Step, FailPoint>> = {
  claim: 'claim.before',
  complete: 'complete.before',
  mark: 'relay.delivered',
};
const ANSWERED: Partial<Record<Step, FailPoint>> = {
  claim: 'claim.answered',
  fresh: 'fresh.taken',
  relay: 'relay.locked',
  consumer: 'consumer.received',
  webhook: 'webhook.received',
  'take-over': 'take-over.answered',
  sweep: 'sweep.answered',
};
/** The effects of the consumers in the transaction of fresh messages, each with the step behind it. */
const EFFECTS: readonly [RegExp, FailPoint][] = [
  [/^\s*INSERT INTO balances /, 'fresh.counted'],
  [/^\s*UPDATE orders SET status = 'paid'/, 'fresh.paid'],
  [/^\s*INSERT INTO mailed_orders /, 'fresh.mailed'],
];
const WORKED: Partial<Record<Step, FailPoint>> = { fresh: 'fresh.worked', consumer: 'consumer.worked' };
const COMMIT_SENT: Partial<Record<Step, FailPoint>> = {
  claim: 'claim.commit-sent',
  complete: 'complete.commit-sent',
  fresh: 'fresh.commit-sent',
  release: 'release.commit-sent',
  mark: 'relay.commit-sent',
  consumer: 'consumer.commit-sent',
  webhook: 'webhook.commit-sent',
  'take-over': 'take-over.commit-sent',
  sweep: 'sweep.commit-sent',
};
const COMMITTED: Partial<Record<Step, FailPoint>> = {
  claim: 'claim.committed',
  complete: 'complete.committed',
  fresh: 'fresh.committed',
  release: 'release.committed',
  mark: 'relay.committed',
  consumer: 'consumer.committed',
  webhook: 'webhook.committed',
  'take-over': 'take-over.committed',
};
const ROLLED_BACK: Partial<Record<Step, FailPoint>> = { fresh: 'fresh.rolled-back' };

const reachOf = (points: Partial<Record<Step, FailPoint>>, step: Step) => {
  const point = points[step];
  if (point) reach(point);
};

type Query = (...args: unknown[]) => Promise<{ command: string; rowCount: number | null; rows: object[] }>;
/** The id is null if the key could not be claimed. */
type ClaimRow = { request_id: string | null };
type Statement = string | { name?: string; text: string };
type Connected = { connection: { stream: { destroy(): void } } };

/** Recognises the transactions of the protocol by their statements. The last statement before a COMMIT names the step. */
function watchTransactions(): void {
  const send = Client.prototype.query as unknown as Query;
  const steps = new WeakMap<object, Step>();

  const statement = (client: object, args: unknown[], step: Step) => {
    reachOf(BEFORE, step);
    // Set before the answer, because COMMIT may be sent directly behind the statement.
    steps.set(client, step);
    const answer = send.apply(client, args);
    answer.then(
      ({ rows, rowCount }) => {
        // A claim returns a row for every key, including those that it could not claim.
        const found = step === 'claim' ? rows.filter((row) => (row as ClaimRow).request_id !== null).length : rowCount;
        if (found) reachOf(ANSWERED, step);
        // A statement that found no work is not a step, because there is nothing to lose.
        else if (steps.get(client) === step) steps.delete(client);
      },
      () => undefined,
    );
    return answer;
  };

  const commit = (client: object, args: unknown[], step: Step) => {
    steps.delete(client);
    reachOf(WORKED, step);
    const answer = send.apply(client, args);
    // COMMIT has been written by then, because pg writes everything of one turn at the end of the turn.
    queueMicrotask(() => reachOf(COMMIT_SENT, step));
    return answer.then((result) => {
      // The answer to the COMMIT of an aborted transaction is ROLLBACK.
      if (result.command !== 'COMMIT') return result;
      reachOf(COMMITTED, step);
      if (armed?.stop !== 'lose answer' || armed.point !== COMMITTED[step]) return result;
      disarm();
      (client as Client & Connected).connection.stream.destroy();
      throw new Error('The answer to COMMIT is lost');
    });
  };

  const rollback = (client: object, args: unknown[], step: Step) => {
    steps.delete(client);
    return send.apply(client, args).then((result) => {
      reachOf(ROLLED_BACK, step);
      return result;
    });
  };

  const effect = (client: object, args: unknown[], point: FailPoint) =>
    send.apply(client, args).then((result) => {
      reach(point);
      return result;
    });

  Client.prototype.query = function (this: object, ...args: unknown[]) {
    const first = args[0] as Statement;
    const { name, text } = typeof first === 'string' ? { name: undefined, text: first } : first;
    const began = STEPS.get(name ?? text);
    if (began) return statement(this, args, began);
    const step = steps.get(this);
    if (!step) return send.apply(this, args);
    if (text === 'COMMIT') return commit(this, args, step);
    if (text === 'ROLLBACK') return rollback(this, args, step);
    const [, point] = (step === 'fresh' ? EFFECTS.find(([pattern]) => pattern.test(text)) : undefined) ?? [];
    return point ? effect(this, args, point) : send.apply(this, args);
  } as never;
}

function watchGateway(): void {
  // Only the gateway of the service uses fetch.
  const { fetch } = globalThis;
  globalThis.fetch = async (...args) => {
    reach('gateway.before');
    const answer = await fetch(...args);
    reach('gateway.answered');
    return answer;
  };
  subscribe('undici:request:bodySent', () => reach('gateway.sent'));
}

/** Sends half of a reply, and the rest in the next turn unless the process is stopped in between. */
function watchReplies(): void {
  const end = ServerResponse.prototype.end as (...args: unknown[]) => ServerResponse;
  ServerResponse.prototype.end = function (this: ServerResponse, ...args: unknown[]) {
    const [body] = args;
    const isDue = armed?.point === 'reply.half-sent' && this.req.method === 'POST' && this.statusCode < 500;
    if (!isDue || typeof body !== 'string') return end.apply(this, args);
    const middle = Math.floor(body.length / 2);
    this.write(body.slice(0, middle));
    setImmediate(() => {
      reach('reply.half-sent');
      end.call(this, body.slice(middle));
    });
    return this;
  } as never;
}

watchTransactions();
watchGateway();
watchReplies();
await import('../../src/main.js');
