// Goal: specify what one transaction guarantees: effect, key and reply commit together, races are retried, expired keys are new.
// Method: run the module in a toy application whose phases fail in a chosen way, and count keys, intents and effects.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Phase, Reply } from '../../src/idempotency/index.js';
import type { EntityManager } from 'typeorm';
import type { TestDatabase } from '../support/database.js';
import {
  CLAIMED,
  createToyDatabase,
  empty,
  isReplay,
  left,
  NOTHING,
  ONE_COMMIT,
  replyOf,
  requestIds,
  startToy,
  stopToys,
  type Toy,
  TWO_COMMITS,
  VARIANTS,
} from '../support/toy.js';
import {
  completing,
  Effect,
  failing,
  type Handler,
  intend,
  oneCommit,
  place,
  placeAfter,
  placeAndReply,
  twoCommits,
  type Wish,
} from '../support/toy.handlers.js';
import { Barrier } from '../support/waiting.js';
import { COMMITTERS, useCommitter } from '../support/committers.js';

describe.each(COMMITTERS)('requests that are committed %s:', (committer) => {
  useCommitter(committer);

  describe.each(VARIANTS)('the idempotency module on $name', ({ platform, isolation }) => {
    let database: TestDatabase;
    let toy: Toy;
    let replica: Toy;

    beforeAll(async () => {
      database = await createToyDatabase({ isolation });
      [toy, replica] = [await startToy(database.url, { platform }), await startToy(database.url, { platform })];
    });
    beforeEach(async () => {
      await empty(database);
      for (const each of [toy, replica]) Object.assign(each, { handler: oneCommit, events: [] });
    });
    afterEach(Barrier.openAll);
    afterAll(async () => {
      await stopToys();
      await database?.drop();
    });

    const ageKeys = (hours: number) =>
      database.sql('UPDATE processed_requests SET created_at = created_at - make_interval(hours => $1)', [hours]);

    describe('the transaction of a phase', () => {
      it('keeps the work of save and of nested transactions, except what was rolled back to a savepoint', async () => {
        const phase = placeAfter(async (tx) => {
          const row = { account_id: 'acct_1', request_id: crypto.randomUUID() };
          await tx.transaction((nested) => nested.save(Effect, { ...row, name: 'kept' }));
          const nested = tx.transaction(async (inner) => {
            await inner.save(Effect, { ...row, name: 'lost' });
            await inner.query('SELECT 1 / 0');
          });
          await expect(nested).rejects.toThrow('division by zero');
        });
        toy.handler = completing(phase);
        expect((await toy.send('key')).status).toBe(201);
        const names = await database.sql<Wish>('SELECT name FROM effects ORDER BY id');
        expect(names.map(({ name }) => name)).toEqual(['kept', 'marble']);
      });

      it('rolls back the work of save and of nested transactions with the phase', async () => {
        const phase = placeAfter(async (tx) => {
          const row = { account_id: 'acct_1', request_id: crypto.randomUUID(), name: 'lost' };
          await tx.save(Effect, row);
          await tx.transaction((nested) => nested.save(Effect, row));
          throw new Error('too late');
        });
        toy.handler = completing(phase);
        expect((await toy.send('key')).status).toBe(500);
        expect(await left(database)).toEqual(NOTHING);
      });

      const swallow: Phase<Wish, Reply> = async (tx, items) => {
        const replies = await place(tx, items);
        await intend(tx, items);
        await expect(tx.query('INSERT INTO intents SELECT * FROM intents')).rejects.toThrow('duplicate key value');
        return replies;
      };
      it.each<[string, Handler]>([
        [
          'claim',
          async (request, wish) => {
            await request.claim(swallow, wish);
            return request.complete(place, wish);
          },
        ],
        ['complete', completing(swallow)],
      ])(
        'fails when a phase of %s swallows an SQL error, because PostgreSQL has aborted the transaction',
        async (_, handler) => {
          toy.handler = handler;
          expect((await toy.send('key')).status).toBe(500);
          expect(await left(database)).toEqual(NOTHING);
        },
      );

      it.each([
        ['serialization failure', '40001', false],
        ['deadlock', '40P01', false],
        ['serialization failure after a claim', '40001', true],
      ])('retries a phase that lost a race (%s)', async (_, state, claimed) => {
        let runs = 0;
        const phase = placeAfter((tx) => ++runs < 3 && raise(tx, state));
        toy.handler = async (request, wish) => {
          if (claimed) await request.claim(intend, wish);
          return request.complete(phase, wish);
        };
        expect((await toy.send('key')).status).toBe(201);
        expect(runs).toBe(3);
        expect(await left(database)).toEqual(claimed ? TWO_COMMITS : ONE_COMMIT);
      });

      // Other requests in the group would change the number of runs that this test counts.
      if (committer !== 'in groups with others') {
        it.each([
          ['a phase that lost a race three times', '40001', 3, 503],
          ['a phase with any other error at once', '22000', 1, 500],
        ])('gives up on %s', async (_, state, expected, status) => {
          let runs = 0;
          const phase = placeAfter((tx) => (runs++, raise(tx, state)));
          toy.handler = completing(phase);
          expect((await toy.send('key')).status).toBe(status);
          expect(runs).toBe(expected);
          expect(await left(database)).toEqual(NOTHING);
        });
      }

      it.each([
        ['one commit', oneCommit, NOTHING],
        ['two commits', twoCommits(), CLAIMED],
      ])('rolls back the effect of %s when its reply cannot be recorded', async (_, handler, expected) => {
        toy.handler = handler;
        await database.sql(`
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no record'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON processed_requests FOR EACH ROW
        WHEN (NEW.completed_at IS NOT NULL) EXECUTE FUNCTION refuse()`);
        const failed = await toy.send('key');
        await database.sql('DROP FUNCTION refuse CASCADE');
        expect(failed.status).toBe(500);
        expect(await left(database)).toEqual(expected);
        expect((await toy.send('key')).status).toBe(201);
        expect(await left(database)).toMatchObject({ completed: 1, effects: 1 });
      });

      it.each<[string, Reply]>([
        ['has a body that JSON cannot carry', { status: 200, body: { amount: 1n } }],
        ['has a body that JSON leaves out', { status: 200, body: () => 1 }],
        ['has a status that is not valid', { status: 100_000 }],
      ])('rolls back the effect when the reply %s', async (_, reply) => {
        toy.handler = completing(placeAndReply(reply));
        expect((await toy.send('key')).status).toBe(500);
        expect(await left(database)).toEqual(NOTHING);
      });

      it.each<[string, Reply]>([
        ['status', { status: 201.5 }],
        ['header', { status: 201, headers: { etag: '\ud800' } }],
      ])('does not report a reply with a bad %s as a lost lock token', async (_, reply) => {
        toy.handler = async (request, wish) => {
          await request.claim(intend, wish);
          return request.complete(placeAndReply(reply), wish);
        };
        expect((await toy.send('key')).status).toBe(500);
        expect(toy.events.map(({ type }) => type)).not.toContain('fenced_off');
        expect(await left(database)).toEqual(CLAIMED);
      });
    });

    describe('a key past its retention', () => {
      it('treats a key past its retention as a new request, even if it has not been swept', async () => {
        const first = await toy.send('key');
        await ageKeys(23);
        expect(replyOf(await toy.send('key'))).toEqual(replyOf(first));
        await ageKeys(1);
        const second = await toy.send('key', { body: { name: 'pebble' } });
        expect(second.text).toBe('{"id":2,"name":"pebble"}');
        expect(isReplay(second)).toBe(false);
        expect(new Set(await requestIds(database, 'effects')).size).toBe(2);
        expect(replyOf(await toy.send('key', { body: { name: 'pebble' } }))).toEqual(replyOf(second));
      });

      it.each([
        ['one commit', oneCommit],
        ['two commits', twoCommits()],
      ])('runs one new request when an expired key is sent eight times at once (%s)', async (_, handler) => {
        // Adds to test/spec/double-charge: the row of the expired key is replaced, not inserted.
        toy.handler = replica.handler = handler;
        await toy.send('key');
        await ageKeys(24);
        const replies = await Promise.all(Array.from({ length: 8 }, (_, i) => (i % 2 ? toy : replica).send('key')));
        expect(new Set(replies.map(({ text }) => text))).toEqual(new Set(['{"id":2,"name":"marble"}']));
        expect(replies.filter((reply) => !isReplay(reply))).toHaveLength(1);
        expect(await left(database)).toMatchObject({ keys: 1, effects: 2 });
      });

      it('resumes an unfinished request past its retention, instead of sweeping or replacing it', async () => {
        toy.handler = failing;
        await toy.send('key');
        const [requestId] = await requestIds(database, 'processed_requests');
        await ageKeys(25);
        expect(await toy.sweeper.runOnce()).toBe(0);
        toy.handler = twoCommits();
        expect((await toy.send('key', { body: { name: 'pebble' } })).status).toBe(422);
        expect((await toy.send('key')).status).toBe(201);
        expect(await requestIds(database, 'effects')).toEqual([requestId]);
        expect(await left(database)).toEqual(TWO_COMMITS);
      });

      /** Inserts completed keys, by default just past their retention. */
      const insert = (count: number, prefix: string, age = '24 hours') =>
        database.sql(
          `INSERT INTO processed_requests
         SELECT 'acct_1', $2 || i, gen_random_uuid(), 'POST /effects', sha256('x'), gen_random_uuid(), NULL, 200, '{}', '{}',
                now() - $3::interval, now()
         FROM generate_series(1, $1) AS i`,
          [count, prefix, age],
        );

      it('sweeps expired completed keys in batches, and no other keys', async () => {
        await insert(2500, 'expired');
        await insert(3, 'kept', '23 hours');
        toy.handler = failing;
        await toy.send('unfinished');
        await database.sql(
          `UPDATE processed_requests SET created_at = now() - interval '25 hours' WHERE completed_at IS NULL`,
        );
        expect(await toy.sweeper.runOnce()).toBe(2500);
        expect(toy.events.flatMap((event) => (event.type === 'swept' ? [event.rows] : []))).toEqual([1000, 1000, 500]);
        const kept = await database.sql('SELECT idempotency_key AS key FROM processed_requests ORDER BY 1');
        expect(kept.map(({ key }) => key as string)).toEqual(['kept1', 'kept2', 'kept3', 'unfinished']);
      });

      it('sweeps each expired key once when two sweeps run at once', async () => {
        await insert(2500, 'expired');
        const swept = await Promise.all([toy, replica].map(({ sweeper }) => sweeper.runOnce()));
        expect(swept.reduce((sum, rows) => sum + rows)).toBe(2500);
        expect(await left(database)).toMatchObject({ keys: 0 });
      });

      it('keeps an expired key that is being taken over while the sweep runs', async () => {
        await toy.send('key');
        await ageKeys(24);
        const takeover = new Barrier();
        toy.handler = completing(placeAfter(takeover.pass));
        const reply = toy.send('key');
        await takeover.reached.given;
        await insert(1, 'expired');
        expect(await replica.sweeper.runOnce()).toBe(1);
        takeover.open();
        expect(isReplay(await reply)).toBe(false);
        expect(replyOf(await replica.send('key'))).toEqual(replyOf(await reply));
      });
    });
  });

  /** Raises an error with this SQLSTATE. */
  const raise = (tx: EntityManager, state: string) =>
    tx.query(`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '${state}'; END $$`);
});
