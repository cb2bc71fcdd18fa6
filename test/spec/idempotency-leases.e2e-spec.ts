// Goal: specify leases: which attempt may continue a claimed request, how an old holder is fenced off, and which answers the duplicates of a claimed request get.
// Method: hold the handlers of a toy application at barriers, on two replicas, expire the lease in the database, and compare replies.
import { ServiceUnavailableException } from '@nestjs/common';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Response } from 'supertest';
import type { TestDatabase } from '../support/database.js';
import {
  CLAIMED,
  createToyDatabase,
  empty,
  errorOf,
  isReplay,
  left,
  replyOf,
  requestIds,
  startToy,
  stopToys,
  type Toy,
  type ToySettings,
  TWO_COMMITS,
  VARIANTS,
} from '../support/toy.js';
import { completing, failing, intend, oneCommit, placeAfter, twoCommits } from '../support/toy.handlers.js';
import { Barrier, until } from '../support/waiting.js';
import { COMMITTERS, useCommitter } from '../support/committers.js';

describe.each(COMMITTERS)('requests that are committed %s:', (committer) => {
  useCommitter(committer);

  /** A handler that is held within its transaction. */
  const heldInCommit = (hold: () => Promise<void>) => completing(placeAfter(hold));

  describe.each(VARIANTS)('a claimed key on $name', ({ platform, isolation }) => {
    let database: TestDatabase;
    let toy: Toy;
    let replica: Toy;
    let resume: Toy['resume'];

    beforeAll(async () => {
      database = await createToyDatabase({ isolation });
      [toy, replica] = [await start(), await start()];
      ({ resume } = toy);
    });
    beforeEach(async () => {
      await empty(database);
      for (const each of [toy, replica])
        Object.assign(each, { handler: twoCommits(), resume, events: [], asked: 0, arrived: 0 });
    });
    afterEach(Barrier.openAll);
    afterAll(async () => {
      await stopToys();
      await database?.drop();
    });

    const start = (settings: ToySettings = {}) => startToy(database.url, { platform, ...settings });

    const expireLeases = () => database.sql(`UPDATE processed_requests SET locked_until = clock_timestamp()`);
    const connections = async ({ name }: Toy) =>
      (await database.sql('SELECT state FROM pg_stat_activity WHERE application_name = $1', [name])).map(
        ({ state }) => state as string,
      );

    describe('the lease between two commits', () => {
      it('releases the key of a handler that fails, so that the next attempt continues at once with the same request id', async () => {
        toy.handler = failing;
        expect((await toy.send('key')).status).toBe(503);
        expect(await left(database)).toEqual(CLAIMED);
        const [requestId] = await requestIds(database, 'processed_requests');

        expect(isReplay(await replica.send('key'))).toBe(false);
        expect(await left(database)).toEqual(TWO_COMMITS);
        for (const table of ['processed_requests', 'intents', 'effects'] as const) {
          expect(await requestIds(database, table)).toEqual([requestId]);
        }
      });

      // Adds to test/spec/double-charge: the module alone, on every platform and isolation level, with two commits.
      it('runs two commits once when 30 duplicates reach two replicas at once', async () => {
        const replies = await Promise.all(Array.from({ length: 30 }, (_, i) => (i % 2 ? toy : replica).send('key')));
        expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 201));
        expect(new Set(replies.map((reply) => JSON.stringify(replyOf(reply)))).size).toBe(1);
        expect(replies.filter((reply) => !isReplay(reply))).toHaveLength(1);
        expect(await left(database)).toEqual(TWO_COMMITS);
      });

      /** A request whose lease has expired while its handler was held, until `wake` is called. */
      async function sleepThroughLease(): Promise<{ reply: Promise<Response>; wake: () => void }> {
        const sleeping = new Barrier();
        toy.handler = twoCommits(sleeping.pass);
        const reply = toy.send('key');
        await sleeping.reached.given;
        await expireLeases();
        return { reply, wake: sleeping.open };
      }
      const fencedOff = () => until(() => toy.events.some(({ type }) => type === 'fenced_off'));

      it('fences off a holder whose lease has expired, when the request that took over has answered', async () => {
        const old = await sleepThroughLease();
        const takeover = await replica.send('key');
        old.wake();
        await fencedOff();

        const reply = await old.reply;
        expect([reply.status, isReplay(reply)]).toEqual([201, true]);
        expect(replyOf(reply)).toEqual(replyOf(takeover));
        // The takeover inserted its effect first, so its effect has the first id.
        expect(reply.body).toMatchObject({ id: 1 });
        expect(await left(database)).toEqual(TWO_COMMITS);
      });

      // Other requests in the group would change the ids and connections that this test counts.
      if (committer !== 'in groups with others') {
        it('fences off a holder whose lease has expired, when the request that took over is at work', async () => {
          const old = await sleepThroughLease();
          const working = new Barrier();
          replica.handler = twoCommits(working.pass);
          const takeover = replica.send('key');
          await working.reached.given;
          old.wake();
          await fencedOff();
          working.open();

          const reply = await old.reply;
          expect([reply.status, isReplay(reply)]).toEqual([201, true]);
          expect(replyOf(reply)).toEqual(replyOf(await takeover));
          // The old holder's effect had the first id before it was rolled back.
          expect(reply.body).toMatchObject({ id: 2 });
          expect(await left(database)).toEqual(TWO_COMMITS);
        });
      }

      // Other requests in the group would change the ids and connections that this test counts.
      if (committer !== 'in groups with others') {
        it('fences off a holder whose lease has expired, and lets the old holder claim again, when the request that took over has failed', async () => {
          const old = await sleepThroughLease();
          replica.handler = failing;
          const takeover = await replica.send('key');
          old.wake();
          await fencedOff();

          const reply = await old.reply;
          expect([reply.status, isReplay(reply)]).toEqual([201, false]);
          expect(takeover.status).toBe(503);
          // The old holder's first effect had the first id before it was rolled back.
          expect(reply.body).toMatchObject({ id: 2 });
          expect(await left(database)).toEqual(TWO_COMMITS);
        });
      }

      it('lets another request in the same process take over a key whose lease has expired', async () => {
        const hasty = await start({ leaseSeconds: 0.1 });
        const oldHolder = new Barrier();
        hasty.handler = twoCommits(oldHolder.pass);
        const old = hasty.send('key');
        await oldHolder.reached.given;
        await until(async () => {
          const [row] = await database.sql(
            'SELECT locked_until < clock_timestamp() AS expired FROM processed_requests',
          );
          return row?.['expired'] === true;
        });
        const second = await hasty.send('key');
        oldHolder.open();
        expect(isReplay(second)).toBe(false);
        expect(replyOf(await old)).toEqual(replyOf(second));
        expect(isReplay(await old)).toBe(true);
        expect(await left(database)).toEqual(TWO_COMMITS);
      });
    });

    describe('an abandoned request', () => {
      async function abandon(count = 1): Promise<void> {
        toy.handler = failing;
        await Promise.all(
          Array.from({ length: count }, (_, i) => toy.send(`key-${i}`, { body: { name: `wish ${i}` } })),
        );
        toy.handler = twoCommits();
        expect(await left(database)).toEqual({ keys: count, completed: 0, intents: count, effects: 0 });
      }

      it('finishes an abandoned request without its client, which then receives the reply', async () => {
        await abandon();
        expect(await replica.recovery.runOnce()).toBe(1);
        expect(await left(database)).toEqual(TWO_COMMITS);
        expect(await requestIds(database, 'effects')).toEqual(await requestIds(database, 'intents'));
        const reply = await toy.send('key-0', { body: { name: 'wish 0' } });
        expect(isReplay(reply)).toBe(true);
        expect(reply.text).toBe('{"id":1,"name":"wish 0"}');
        expect(await replica.recovery.runOnce()).toBe(0);
      });

      it('leaves a request to its holder while the lease runs', async () => {
        const holder = new Barrier();
        toy.handler = twoCommits(holder.pass);
        const reply = toy.send('key');
        await holder.reached.given;
        expect(await replica.recovery.runOnce()).toBe(0);
        holder.open();
        expect(isReplay(await reply)).toBe(false);
      });

      it('finishes 18 abandoned requests once each when three replicas run recovery at once', async () => {
        const other = await start();
        await abandon(18);
        const runs = await Promise.all([toy, replica, other, toy].map(({ recovery }) => recovery.runOnce()));
        // A second run in one process joins the first and returns the same number.
        expect(runs.slice(0, 3).reduce((sum, run) => sum + run)).toBe(18);
        expect(runs[3]).toBe(runs[0]);
        expect(await left(database)).toEqual({ keys: 18, completed: 18, intents: 18, effects: 18 });
        expect(new Set(await requestIds(database, 'effects')).size).toBe(18);
      });

      it('keeps an abandoned request and releases its key when recovery fails', async () => {
        await abandon();
        toy.resume = () => Promise.reject(new Error('no answer'));
        expect(await toy.recovery.runOnce()).toBe(0);
        expect(await left(database)).toEqual(CLAIMED);
        toy.resume = resume;
        await database.sql('UPDATE processed_requests SET recover_at = clock_timestamp()');
        expect(await toy.recovery.runOnce()).toBe(1);
        expect(await left(database)).toEqual(TWO_COMMITS);
      });

      it('finishes an abandoned request once when its client retries during recovery', async () => {
        await abandon();
        const recovering = new Barrier();
        toy.resume = async (abandoned) => {
          await recovering.pass();
          return resume(abandoned);
        };
        const recovered = toy.recovery.runOnce();
        await recovering.reached.given;
        const reply = replica.send('key-0', { body: { name: 'wish 0' } });
        await until(() => replica.arrived === 1);
        recovering.open();
        expect(await recovered).toBe(1);
        expect(isReplay(await reply)).toBe(true);
        expect(await left(database)).toEqual(TWO_COMMITS);
      });
    });

    describe('the duplicates of a claimed request', () => {
      // Other requests in the group would change the ids and connections that this test counts.
      if (committer !== 'in groups with others') {
        it.each([
          { at: 'between two commits', busy: [], handler: twoCommits },
          { at: 'within its commit', busy: ['idle in transaction'], handler: heldInCommit },
        ])('makes duplicates wait without a connection while the first request is $at', async ({ busy, handler }) => {
          const small = await start({ poolSize: 2 });
          const first = new Barrier();
          small.handler = handler(first.pass);
          const replies = [small.send('key')];
          await first.reached.given;
          while (replies.length <= 30) replies.push(small.send('key'));
          await until(() => small.asked === 31);

          expect((await small.send('another')).status).toBe(201);
          expect((await connections(small)).filter((state) => state !== 'idle')).toEqual(busy);
          first.open();
          const answers = await Promise.all(replies);
          expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
          expect(answers.filter((answer) => !isReplay(answer))).toHaveLength(1);
        });
      }

      it.each(['the same process', 'another replica'])(
        'answers 409 with outcome unknown to a duplicate that has waited long enough, in %s',
        async (at) => {
          const impatient = await start({ waitMs: 60 });
          const holder = at === 'the same process' ? impatient : toy;
          const first = new Barrier();
          holder.handler = twoCommits(first.pass);
          const reply = holder.send('key');
          await first.reached.given;
          const refused = await impatient.send('key');
          const code = 'idempotency_key_in_progress';
          expect(errorOf(refused)).toMatchObject({ status: 409, code, outcome: 'unknown', retryable: true });
          first.open();
          expect(isReplay(await reply)).toBe(false);
          expect(replyOf(await impatient.send('key'))).toEqual(replyOf(await reply));
        },
      );

      it('answers 422 at once to another request with the key while the first is between its two commits', async () => {
        const first = new Barrier();
        toy.handler = twoCommits(first.pass);
        const reply = toy.send('key');
        await first.reached.given;
        for (const each of [toy, replica]) {
          const refused = await each.send('key', { body: { name: 'pebble' } });
          expect(errorOf(refused)).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
        }
        first.open();
        expect((await reply).status).toBe(201);
      });

      it('answers 422 to another request with the key that arrives while the first is within its commit', async () => {
        const first = new Barrier();
        toy.handler = heldInCommit(first.pass);
        const reply = toy.send('key');
        await first.reached.given;
        const refused = [toy, replica].map((each) => each.send('key', { body: { name: 'pebble' } }));
        await until(() => toy.asked + replica.asked === 3);
        first.open();
        for (const each of refused) {
          expect(errorOf(await each)).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
        }
        expect((await reply).status).toBe(201);
      });

      it('replays to a duplicate although another request with its key is being refused', async () => {
        const small = await start({ poolSize: 1 });
        small.handler = oneCommit;
        const first = await small.send('key');
        const busy = new Barrier();
        small.handler = heldInCommit(busy.pass);
        const replies = [small.send('busy')];
        await busy.reached.given;
        // The pool has no free connection, so neither request can read yet which request the key belongs to.
        replies.push(small.send('key', { body: { name: 'pebble' } }));
        await until(() => small.asked === 3);
        replies.push(small.send('key'));
        await until(() => small.asked === 4);
        busy.open();
        const [, refused, repeated] = await Promise.all(replies);
        expect(refused?.status).toBe(422);
        expect(repeated && replyOf(repeated)).toEqual(replyOf(first));
      });

      it('gives waiting duplicates the error of the first request, and then lets the key be used again', async () => {
        const first = new Barrier();
        toy.handler = async (request, wish) => {
          await request.claim(intend, wish);
          await first.pass();
          throw new ServiceUnavailableException('no answer');
        };
        const replies = [toy.send('key')];
        await first.reached.given;
        while (replies.length < 8) replies.push(toy.send('key'));
        await until(() => toy.asked === 8);
        first.open();
        const answers = await Promise.all(replies);
        expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 503));
        expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
        expect(await left(database)).toEqual(CLAIMED);

        toy.handler = twoCommits();
        expect((await toy.send('key')).status).toBe(201);
        expect(await left(database)).toEqual(TWO_COMMITS);
      });
    });
  });
});
