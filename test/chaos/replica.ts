import { subscribe } from 'node:diagnostics_channel';
import { writeSync } from 'node:fs';
import { ServerResponse } from 'node:http';
import { Client } from 'pg';
import { SWEEP, TAKE_OVER } from '../../src/idempotency/upkeep/upkeep.store.js';
import type { Arm, Disarmed, FailPoint } from './fail-points.js';

/**
 * The service as a process that can be stopped at a named step. The steps are watched from outside, around the libraries that
 * the service uses: its own source knows nothing of them, so in production they do nothing and cost nothing.
 */

/** Told synchronously which step was reached: a process that kills itself sends no messages afterwards. */
const REPORTS_FD = 4;

let armed: Arm['arm'];
process.on('message', (message: Arm) => {
  armed = message.arm;
  if (!armed) process.send?.({ disarmed: true } satisfies Disarmed);
});
process.on('disconnect', () => process.exit());
// Whoever started it may have gone while this was being loaded.
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

type Step = 'claim' | 'complete' | 'take-over' | 'relay' | 'mark' | 'consumer' | 'sweep';

const STEPS = new Map<string, Step>([
  ['idempotency_claim', 'claim'],
  ['idempotency_claim_all', 'claim'],
  ['idempotency_complete', 'complete'],
  ['idempotency_complete_all', 'complete'],
  ['messaging_lock_due', 'relay'],
  ['messaging_published', 'mark'],
  ['messaging_receive', 'consumer'],
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
  relay: 'relay.locked',
  consumer: 'consumer.received',
  'take-over': 'take-over.answered',
  sweep: 'sweep.answered',
};
const COMMIT_SENT: Partial<Record<Step, FailPoint>> = {
  claim: 'claim.commit-sent',
  complete: 'complete.commit-sent',
  mark: 'relay.commit-sent',
  consumer: 'consumer.commit-sent',
  'take-over': 'take-over.commit-sent',
  sweep: 'sweep.commit-sent',
};
const COMMITTED: Partial<Record<Step, FailPoint>> = {
  claim: 'claim.committed',
  complete: 'complete.committed',
  mark: 'relay.committed',
  consumer: 'consumer.committed',
  'take-over': 'take-over.committed',
};

const reachOf = (points: Partial<Record<Step, FailPoint>>, step: Step) => {
  const point = points[step];
  if (point) reach(point);
};

type Query = (...args: unknown[]) => Promise<{ command: string; rowCount: number | null; rows: object[] }>;
/** Without an id where the key could not be taken. */
type ClaimRow = { request_id: string | null };
type Statement = string | { name?: string; text: string };
type Connected = { connection: { stream: { destroy(): void } } };

/** The transactions of the protocol, told by the statements in them. The last one gives a COMMIT its name. */
function watchTransactions(): void {
  const send = Client.prototype.query as unknown as Query;
  const steps = new WeakMap<object, Step>();

  const statement = (client: object, args: unknown[], step: Step) => {
    reachOf(BEFORE, step);
    // Before the answer, since COMMIT may be sent right behind.
    steps.set(client, step);
    const answer = send.apply(client, args);
    answer.then(
      ({ rows, rowCount }) => {
        // A claim has an answer for every key, also for one that it could not take.
        const found = step === 'claim' ? rows.filter((row) => (row as ClaimRow).request_id !== null).length : rowCount;
        if (found) reachOf(ANSWERED, step);
        // What found nothing to do is no step: there is nothing to be lost.
        else if (steps.get(client) === step) steps.delete(client);
      },
      () => undefined,
    );
    return answer;
  };

  const commit = (client: object, args: unknown[], step: Step) => {
    steps.delete(client);
    if (step === 'consumer') reach('consumer.worked');
    const answer = send.apply(client, args);
    // It has left by then: what is put together in one turn is written at the end of it.
    queueMicrotask(() => reachOf(COMMIT_SENT, step));
    return answer.then((result) => {
      // Of an aborted transaction the answer is ROLLBACK.
      if (result.command !== 'COMMIT') return result;
      reachOf(COMMITTED, step);
      if (armed?.stop !== 'lose answer' || armed.point !== COMMITTED[step]) return result;
      disarm();
      (client as Client & Connected).connection.stream.destroy();
      throw new Error('The answer to COMMIT is lost');
    });
  };

  Client.prototype.query = function (this: object, ...args: unknown[]) {
    const first = args[0] as Statement;
    const { name, text } = typeof first === 'string' ? { name: undefined, text: first } : first;
    if (text === 'COMMIT') {
      const step = steps.get(this);
      return step ? commit(this, args, step) : send.apply(this, args);
    }
    if (text === 'ROLLBACK') steps.delete(this);
    const step = STEPS.get(name ?? text);
    return step ? statement(this, args, step) : send.apply(this, args);
  } as never;
}

function watchGateway(): void {
  // Only the gateway uses it.
  const { fetch } = globalThis;
  globalThis.fetch = async (...args) => {
    reach('gateway.before');
    const answer = await fetch(...args);
    reach('gateway.answered');
    return answer;
  };
  subscribe('undici:request:bodySent', () => reach('gateway.sent'));
}

/** Sends half of a reply, and the rest in the next turn, if there is one. */
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
