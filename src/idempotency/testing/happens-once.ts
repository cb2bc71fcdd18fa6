import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { INestApplication } from '@nestjs/common';
import { Idempotency } from '../idempotency.js';
import { Recovery } from '../upkeep/recovery.js';
import { Attempts, type CrashPoint } from './attempts.js';

/** A request that is sent many times. `happensOnce` adds the `Idempotency-Key`. */
export interface RepeatedRequest {
  readonly path: string;
  /** The default is POST. */
  readonly method?: string;
  /** Such as the credentials of an account. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * A JSON body. If the body has a natural key, such as an order number, use a function, so that each new idempotency key gets a body of
   * its own.
   */
  readonly body?: object | ((idempotencyKey: string) => object);
}

/** How the effects of a request are counted. */
export interface Effects {
  /**
   * Counts the effects of all requests so far, such as the rows of a table or the calls of a fake bank. Only the difference matters.
   *
   * Count in the places where an effect would appear a second time: the number of replies is not a number of effects.
   */
  readonly effects: () => number | Promise<number>;
}

interface Answer {
  readonly status: number;
  readonly text: string;
  readonly isReplay: boolean;
}

/** Enough for a race between several transactions. */
const DUPLICATES = 8;

/**
 * Expects that a request has one effect and one reply, regardless of its retries. Uses a new idempotency key for each of these cases:
 *
 * 1. The request is sent twice.
 * 2. {@link DUPLICATES} duplicates are sent at once. They meet in the database, as on several replicas.
 * 3. For each commit of the handler: an attempt crashes just before its COMMIT, after the phase has run, or just after it. Then the client
 *    sends the request again.
 * 4. For each crash that leaves a claimed request: recovery finishes the request, and then the client gets the recorded reply.
 *
 * **A crash is simulated within the process.** `claim` or `complete` throws, every later commit of this attempt fails, its lease is not
 * released, and then the lease ends at once. So the database is in the state that a dead process leaves after its lease. Other things differ
 * from a death: `catch` and `finally` blocks of the handler run, memory survives, and the crashed attempt is answered with 500. A crash
 * within a statement and a lost answer to COMMIT are not simulated.
 *
 * @param app an application with the idempotency module, on a database for tests. If it does not listen yet, it starts to listen on a free
 *   port of the loopback interface. Recovery runs, so it also finishes other abandoned requests of this database.
 * @throws AssertionError that names the case
 */
export async function happensOnce(
  app: INestApplication,
  request: RepeatedRequest,
  { effects }: Effects,
): Promise<void> {
  const url = await urlOf(app);
  const recovery = app.get(Recovery, { strict: false });

  /** Runs one case with a new key, and expects one effect and equal answers. */
  const check = async (name: string, run: (send: () => Promise<Answer>, attempts: Attempts) => Promise<Answer[]>) => {
    const key = randomUUID();
    const attempts = new Attempts(app.get(Idempotency, { strict: false }), key);
    try {
      const before = await effects();
      const answers = await run(() => sendOnce(url, key, request), attempts);
      const made = (await effects()) - before;
      expectSame(name, answers);
      assert.equal(made, 1, `${name}: expected 1 effect, but there were ${made}; the answer was ${show(answers[0])}`);
      return attempts.commits;
    } finally {
      attempts.forget();
    }
  };

  const commits = await check('a request that is sent twice', async (send) => {
    const answers = [await send(), await send()];
    expectReplay('a request that is sent twice', answers[1]);
    return answers;
  });
  await check(`${DUPLICATES} duplicates at once`, (send) => Promise.all(Array.from({ length: DUPLICATES }, send)));
  for (const crashPoint of commits.flatMap(pointsOf)) {
    const name = `a crash ${crashPoint.moment} the COMMIT of ${crashPoint.commit}`;
    const crash = async (send: () => Promise<Answer>, attempts: Attempts) => {
      attempts.crashAt(crashPoint);
      const answer = await send();
      assert.ok(attempts.hasCrashed, `${name}: the handler did not reach this commit, but answered ${show(answer)}`);
      await attempts.expireLease();
    };
    await check(`${name}, then a retry`, async (send, attempts) => {
      await crash(send, attempts);
      return [await send(), await send()];
    });
    if (!leavesClaim(crashPoint)) continue;
    await check(`${name}, then recovery`, async (send, attempts) => {
      await crash(send, attempts);
      // The first call may wait for a run that has begun before the lease has ended.
      await recovery.runOnce();
      await recovery.runOnce();
      const answers = [await send(), await send()];
      expectReplay(`${name}, then recovery`, answers[0]);
      return answers;
    });
  }
}

const pointsOf = (commit: CrashPoint['commit']): CrashPoint[] => [
  { commit, moment: 'before' },
  { commit, moment: 'after' },
];

/** Whether the request is claimed and not completed after the crash. */
const leavesClaim = ({ commit, moment }: CrashPoint) =>
  (commit === 'claim' && moment === 'after') || (commit === 'complete' && moment === 'before');

async function urlOf(app: INestApplication): Promise<string> {
  const server = app.getHttpServer() as Server;
  if (!server.listening) await app.listen(0, '127.0.0.1');
  return app.getUrl();
}

async function sendOnce(url: string, key: string, { path, method = 'POST', headers, body }: RepeatedRequest) {
  const content = typeof body === 'function' ? (body as (key: string) => object)(key) : body;
  const response = await fetch(new URL(path, url), {
    method,
    headers: { 'content-type': 'application/json', ...headers, 'idempotency-key': key },
    body: content && JSON.stringify(content),
  });
  const isReplay = response.headers.get('idempotent-replayed') === 'true';
  return { status: response.status, text: await response.text(), isReplay };
}

function expectSame(name: string, answers: readonly Answer[]): void {
  for (const answer of answers) {
    assert.equal(show(answer), show(answers[0]), `${name}: expected equal answers`);
  }
}

function expectReplay(name: string, answer: Answer | undefined): void {
  assert.ok(answer?.isReplay, `${name}: expected the recorded reply, but the answer was ${show(answer)}`);
}

const show = (answer: Answer | undefined) => `${answer?.status} ${answer?.text}`;
