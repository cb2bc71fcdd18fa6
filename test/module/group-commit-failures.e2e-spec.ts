// Goal: prove that one request of a group makes no other request fail or wait, and that the result of a lost COMMIT is found out.
// Method: make the third request (`ODD`) different from the others (`OTHERS`), release all eight into one group, and compare rows.
import { describe, expect, it } from '@jest/globals';
import type { Response } from 'supertest';
import type { EntityManager } from 'typeorm';
import type { PhaseItem, Reply } from '../../src/idempotency/index.js';
import { connect } from '../support/database.js';
import {
  answersOf,
  CLIENTS,
  commitSizes,
  completedInOneGroup,
  firstReplies,
  fulfilled,
  holdGroups,
  inOneGroup,
  NAMES,
  ODD,
  OTHERS,
  replicasOf,
  sendWish,
  waiting,
} from '../support/groups.js';
import { errorOf, isReplay, left, NOTHING, replyOf } from '../support/toy.js';
import { completing, oneCommit, place, placeAfter, twoCommits, type Wish } from '../support/toy.handlers.js';
import { Barrier, until } from '../support/waiting.js';

describe.each(CLIENTS)('requests in one commit, with $name', (client) => {
  const at = replicasOf(client);

  describe('a group with one request that differs', () => {
    it('replays a refusal only to the request that was refused, when eight share a commit', async () => {
      const isPoor = ({ input }: PhaseItem<Wish>) => input.name === ODD;
      const refusal = { status: 402, body: { reason: 'poor' } };
      at.toy.handler = completing(async (tx, items) => {
        const able = items.filter((item) => !isPoor(item));
        const replies = await place(tx, able);
        return items.map((item) => replies[able.indexOf(item)] ?? refusal);
      });
      const answers = await Promise.all(await inOneGroup(at.toy, NAMES));
      expect(commitSizes(at.toy)).toEqual([8]);
      expect(answers.map(({ status }) => status)).toEqual(NAMES.map((name) => (name === ODD ? 402 : 201)));
      expect(await fulfilled(at.database)).toEqual(OTHERS);
      expect(await left(at.database)).toEqual({ keys: 8, completed: 8, intents: 0, effects: 7 });
      at.toy.handler = oneCommit;
      const again = await sendWish(at.toy, ODD);
      expect(isReplay(again)).toBe(true);
      expect(replyOf(again)).toEqual(replyOf(answers[2] as Response));
    });

    type Spoil = (tx: EntityManager, replies: readonly Reply[], bad: number) => Promise<readonly Reply[]>;
    it.each<[string, Spoil]>([
      ['throws', () => Promise.reject(new Error('spoilt'))],
      ['fails in SQL', (tx) => tx.query('SELECT 1 / 0')],
      [
        'swallows an SQL error',
        async (tx, replies) => {
          await expect(tx.query('SELECT 1 / 0')).rejects.toThrow('division by zero');
          return replies;
        },
      ],
      [
        'has a reply that cannot be sent',
        (_, replies, bad) => Promise.resolve(replies.with(bad, { status: 200, body: 1n })),
      ],
      [
        'has a reply that cannot be recorded',
        (_, replies, bad) => Promise.resolve(replies.with(bad, { status: 100_000 })),
      ],
      ['has no reply', (_, replies, bad) => Promise.resolve(replies.toSpliced(bad, 1))],
      [
        'fails the COMMIT',
        async (tx, replies) => {
          await tx.query('CREATE TEMP TABLE twice (id int UNIQUE DEFERRABLE INITIALLY DEFERRED) ON COMMIT DROP');
          await tx.query('INSERT INTO twice VALUES (1), (1)');
          return replies;
        },
      ],
    ])(
      'fails only the request that %s, when eight share a commit, and lets its key be used again',
      async (_, spoil) => {
        const calls: number[] = [];
        at.toy.handler = completing(async (tx, items) => {
          calls.push(items.length);
          const replies = await place(tx, items);
          const bad = items.findIndex(({ input }) => input.name === ODD);
          return bad < 0 ? replies : spoil(tx, replies, bad);
        });
        const answers = await answersOf(await inOneGroup(at.toy, NAMES));
        expect(answers).toEqual(NAMES.map((name) => ({ status: name === ODD ? 500 : 201, isReplay: false })));
        // Each request is then retried alone. Requests that lose a race again may share a group, but never all eight.
        expect(calls.length).toBeGreaterThan(2);
        expect(calls[0]).toBe(NAMES.length);
        expect(Math.max(...calls.slice(1))).toBeLessThan(NAMES.length);
        await at.expectEachOnce(OTHERS);
        at.toy.handler = oneCommit;
        expect(isReplay(await sendWish(at.toy, ODD))).toBe(false);
        await at.expectEachOnce();
      },
    );

    it('retries each request alone when a group of eight has lost a race', async () => {
      const calls: number[] = [];
      const losing = placeAfter((tx, { length }) => {
        calls.push(length);
        return length > 1 && tx.query(`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$`);
      });
      at.toy.handler = completing(losing);
      expect(await answersOf(await inOneGroup(at.toy, NAMES))).toEqual(firstReplies());
      expect(calls).toEqual([8, ...NAMES.map(() => 1)]);
      await at.expectEachOnce();
    });

    it('gives a duplicate of a grouped request the same reply, and answers 422 to another request with its key', async () => {
      const letGo = await holdGroups(at.toy);
      const others = OTHERS.map((name) => sendWish(at.toy, name));
      const first = sendWish(at.toy, ODD);
      await until(() => waiting(at.toy) === 8);
      const [duplicate, forged] = [sendWish(at.toy, ODD), at.toy.send(ODD, { body: { name: 'forged' } })];
      // The duplicate waits for the first request, not for a group.
      await until(() => at.toy.asked === 10 && waiting(at.toy) === 9);
      await letGo();
      expect(await answersOf(others)).toEqual(firstReplies(OTHERS));
      const { status, text } = await first;
      expect(await duplicate).toMatchObject({ status, text });
      // Either of the two different requests may be first, because they are not in one group.
      const refused = status === 201 ? await forged : await first;
      expect([status, (await forged).status].sort()).toEqual([201, 422]);
      expect(errorOf(refused)).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
      expect(commitSizes(at.toy)).toContain(8);
      expect(await left(at.database)).toEqual({ keys: 8, completed: 8, intents: 0, effects: 8 });
    });

    it('commits requests of several accounts with the same key together, each with its own reply', async () => {
      const letGo = await holdGroups(at.toy);
      const accounts = ['a', 'aa', 'b'];
      const sent = accounts.flatMap((account) =>
        ['key', 'akey'].map((key) => at.toy.send(key, { account, body: { name: account + key } })),
      );
      await until(() => waiting(at.toy) === 6);
      await letGo();
      expect(await answersOf(sent)).toEqual(firstReplies(sent.map(String)));
      expect(commitSizes(at.toy)).toEqual([6]);
      const names = (await Promise.all(sent)).map(({ body }) => (body as Wish).name);
      expect(names).toEqual(['akey', 'aakey', 'aakey', 'aaakey', 'bkey', 'bakey']);
      expect(await left(at.database)).toEqual({ keys: 6, completed: 6, intents: 0, effects: 6 });
    });

    it.each([
      ['under a running lease', (hold: () => Promise<void>) => twoCommits(hold), 1],
      ['within a transaction', (hold: () => Promise<void>) => completing(placeAfter(hold)), 0],
    ])(
      'makes only the request wait that is in flight on another replica %s, when eight share a commit',
      async (_, held, intents) => {
        const elsewhere = new Barrier();
        at.replica.handler = held(elsewhere.pass);
        const first = sendWish(at.replica, ODD);
        await elsewhere.reached.given;
        const replies = await inOneGroup(at.toy, NAMES);
        const waiter = replies.splice(2, 1);
        expect(await answersOf(replies)).toEqual(firstReplies(OTHERS));
        expect(commitSizes(at.toy)[0]).toBe(8);
        expect(await fulfilled(at.database)).toEqual(OTHERS);
        elsewhere.open();
        expect(await answersOf(waiter)).toEqual([{ status: 201, isReplay: true }]);
        expect(replyOf((await waiter[0]) as Response)).toEqual(replyOf(await first));
        await at.expectEachOnce(NAMES, intents);
      },
    );

    it('makes only the request wait whose key another session has locked, when eight share a commit', async () => {
      const hasty = await at.start({ limits: { ...client.limits, lock_timeout: 100 } });
      const session = await connect(at.database.url);
      await session.query('BEGIN');
      await session.query(
        `INSERT INTO processed_requests VALUES
           ('acct_1', $1, gen_random_uuid(), 'x', sha256('x'), gen_random_uuid(), 'infinity', NULL, NULL, NULL, now())`,
        [ODD],
      );
      const replies = await inOneGroup(hasty, NAMES);
      const waiter = replies.splice(2, 1);
      expect(await answersOf(replies)).toEqual(firstReplies(OTHERS));
      await session.query('ROLLBACK');
      await session.end();
      expect(await answersOf(waiter)).toEqual(firstReplies([ODD]));
      await at.expectEachOnce();
    });

    it('gives a request that was taken over the reply of the takeover, and completes the other seven', async () => {
      let other: Response | undefined;
      const replies = await completedInOneGroup(at.toy, NAMES, async () => {
        await at.database.sql('UPDATE processed_requests SET locked_until = now() WHERE idempotency_key = $1', [ODD]);
        at.replica.handler = twoCommits();
        other = await sendWish(at.replica, ODD);
      });
      const fencedOff = replies.splice(2, 1);
      expect(await answersOf(replies)).toEqual(firstReplies(OTHERS));
      expect(await answersOf(fencedOff)).toEqual([{ status: 201, isReplay: true }]);
      expect(replyOf((await fencedOff[0]) as Response)).toEqual(replyOf(other as Response));
      expect(at.toy.events.filter(({ type }) => type === 'fenced_off')).toHaveLength(1);
      await at.expectEachOnce(NAMES, 8);
    });
  });

  describe('a group that loses its connection', () => {
    it('commits nothing of a group whose connection is terminated, and lets each request be sent again', async () => {
      const held = new Barrier();
      at.toy.handler = completing(placeAfter(held.pass));
      const replies = await inOneGroup(at.toy, NAMES);
      await held.reached.given;
      const busy = `FROM pg_stat_activity WHERE application_name = '${at.toy.name}' AND state = 'idle in transaction'`;
      expect(await at.database.sql(`SELECT pg_terminate_backend(pid) ${busy}`)).toHaveLength(1);
      await until(async () => (await at.database.sql(`SELECT ${busy}`)).length === 0);
      held.open();
      for (const answer of await Promise.all(replies)) {
        const code = 'database_unavailable';
        expect(errorOf(answer)).toMatchObject({ status: 503, code, outcome: 'not_started', retryable: true });
      }
      expect(await left(at.database)).toEqual(NOTHING);
      expect(await answersOf(NAMES.map((name) => sendWish(at.toy, name)))).toEqual(firstReplies());
      await at.expectEachOnce();
    });

    const isWaitedFor = async () => {
      const waiters = `SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'`;
      return (await at.database.sql(waiters, [at.far.name])).length > 0;
    };

    describe.each(['drop request', 'drop reply', 'late'] as const)('a group whose COMMIT is lost (%s)', (fault) => {
      const resolve = async (replies: Promise<Response>[], before: number) => {
        await until(() => at.proxy.landed === before + 1);
        if (fault === 'late') {
          await until(isWaitedFor);
          await at.proxy.releaseLate();
        }
        // These attempts recorded the replies, so none of the replies is a replay.
        expect(await answersOf(replies)).toEqual(firstReplies());
      };

      it('finds out for each of eight requests whether their lost COMMIT took effect', async () => {
        const calls: number[] = [];
        at.far.handler = completing(placeAfter((_, { length }) => calls.push(length)));
        const before = at.proxy.landed;
        at.proxy.failCommit(fault);
        await resolve(await inOneGroup(at.far, NAMES), before);
        expect(calls).toEqual(fault === 'drop request' ? [8, ...NAMES.map(() => 1)] : [8]);
        await at.expectEachOnce();
      });

      it('finds out for each of eight claims whether their lost COMMIT took effect', async () => {
        at.far.handler = twoCommits();
        const before = at.proxy.landed;
        at.proxy.failCommit(fault);
        await resolve(await inOneGroup(at.far, NAMES), before);
        await at.expectEachOnce(NAMES, 8);
      });

      it('finds out for each of eight completions whether their lost COMMIT took effect', async () => {
        const before = at.proxy.landed;
        await resolve(await completedInOneGroup(at.far, NAMES, () => at.proxy.failCommit(fault)), before);
        expect(at.far.events.filter(({ type }) => type === 'fenced_off')).toEqual([]);
        await at.expectEachOnce(NAMES, 8);
      });
    });
  });
});
