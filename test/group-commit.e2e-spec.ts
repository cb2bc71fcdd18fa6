import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Response } from 'supertest';
import type { EntityManager } from 'typeorm';
import { type Phase, type PhaseItem, type Reply } from '../src/idempotency/index.js';
import { connect, type TestDatabase } from './support/database.js';
import {
  commitSizes,
  completedInOneGroup,
  fulfilled,
  groupCommit,
  holdGroups,
  inOneGroup,
  namesOf,
  sendWish,
  unitOf,
  waiting,
} from './support/groups.js';
import { type PostgresProxy, startProxy } from './support/proxy.js';
import {
  createToyDatabase,
  empty,
  errorOf,
  isReplay,
  left,
  LIMITS,
  NOTHING,
  ONE_COMMIT,
  replyOf,
  startToy,
  stopToys,
  type Toy,
  type ToySettings,
  VARIANTS,
} from './support/toy.js';
import { completing, oneCommit, place, placeAfter, twoCommits, type Wish } from './support/toy.handlers.js';
import { Barrier, until } from './support/waiting.js';

const NAMES = namesOf(8);
const [, , SHARED = ''] = NAMES;
const OTHERS = NAMES.filter((name) => name !== SHARED);

const [FASTIFY, , SERIALIZABLE] = VARIANTS;
const CLIENTS = [
  { ...FASTIFY, name: 'a client that awaits each answer', limits: LIMITS },
  { ...FASTIFY, name: 'a client that pipelines', limits: { ...LIMITS, pipeline: 1 } },
  { ...SERIALIZABLE, name: 'a client that pipelines, by default serializable', limits: { ...LIMITS, pipeline: 1 } },
];

describe.each(CLIENTS)('requests in one commit, with $name', ({ platform, isolation, limits }) => {
  let database: TestDatabase;
  let proxy: PostgresProxy;
  let toy: Toy;
  let replica: Toy;
  /** Reaches the database through the proxy. */
  let far: Toy;

  const start = (settings: ToySettings = {}) => startToy(database.url, { platform, limits, ...settings });

  beforeAll(async () => {
    database = await createToyDatabase({ isolation });
    proxy = await startProxy(database.url);
    [toy, replica] = [await start(), await start()];
    far = await startToy(proxy.url, { platform, limits });
  });
  beforeEach(async () => {
    await empty(database);
    for (const each of [toy, replica, far]) Object.assign(each, { handler: oneCommit, events: [], arrived: 0 });
  });
  afterEach(Barrier.openAll);
  afterAll(async () => {
    await stopToys();
    await proxy?.close();
    await database?.drop();
  });

  const answersOf = async (replies: Promise<Response>[]) => {
    const answers = await Promise.all(replies);
    return answers.map((answer) => ({ status: answer.status, isReplay: isReplay(answer) }));
  };
  const firstReplies = (names = NAMES) => names.map(() => ({ status: 201, isReplay: false }));

  /** Each request has its own effect, once, and nothing else is there. */
  const expectEachOnce = async (names = NAMES, intents = 0) => {
    expect(await fulfilled(database)).toEqual([...names].sort());
    const count = names.length;
    expect(await left(database)).toEqual({ keys: count, completed: count, intents, effects: count });
  };

  describe('that do well', () => {
    it('run each phase once, and get a reply each', async () => {
      const calls: string[][] = [];
      const noting: Phase<Wish, Reply> = (tx, items) => {
        calls.push(items.map(({ input }) => input.name));
        return place(tx, items);
      };
      const other: Phase<Wish, Reply> = (tx, items) => noting(tx, items);
      toy.handler = (request, wish) => request.complete(wish.name < 'wish-5' ? noting : other, wish);
      const answers = await Promise.all(await inOneGroup(toy, NAMES));
      expect(calls).toEqual([NAMES.slice(0, 5), NAMES.slice(5)]);
      expect(commitSizes(toy)).toEqual([8]);
      expect(answers.map(({ body }) => (body as Wish).name)).toEqual(NAMES);
      await expectEachOnce();
      for (const [i, name] of NAMES.entries()) {
        const again = await sendWish(replica, name);
        expect(isReplay(again)).toBe(true);
        expect(replyOf(again)).toEqual(replyOf(answers[i] as Response));
      }
    });

    it('share their claims and their completions', async () => {
      expect(await answersOf(await completedInOneGroup(toy, NAMES, () => (toy.events = [])))).toEqual(firstReplies());
      expect(commitSizes(toy)).toEqual([8]);
      await expectEachOnce(NAMES, 8);
    });

    it('are grouped by nothing but a commit under way', async () => {
      expect(isReplay(await sendWish(toy, 'alone'))).toBe(false);
      expect(commitSizes(toy)).toEqual([1]);
      expect(await left(database)).toEqual(ONE_COMMIT);

      const names = namesOf(200);
      expect(await answersOf(names.map((name) => sendWish(toy, name)))).toEqual(firstReplies(names));
      const sizes = commitSizes(toy).slice(1);
      expect(sizes.reduce((sum, size) => sum + size)).toBe(200);
      expect(sizes.length).toBeLessThan(150);
      await expectEachOnce([...names, 'alone']);
    });

    it.each([
      { maxGroupSize: 3, sizes: [3, 3, 2] },
      { maxGroupSize: 1, sizes: [1, 1, 1, 1, 1, 1, 1, 1] },
    ])('are $maxGroupSize at most', async ({ maxGroupSize, sizes }) => {
      const small = await start({ maxGroupSize });
      expect(await answersOf(await inOneGroup(small, NAMES))).toEqual(firstReplies());
      expect(commitSizes(small).sort().reverse()).toEqual(sizes);
      await expectEachOnce();
    });

    it('are told the very bytes of their own reply, whatever is in it, under whatever key', async () => {
      const bodies = [
        '',
        '"',
        '\\',
        '\\"',
        '{}',
        '{"a","b"}',
        'NULL',
        ',',
        '\0\n',
        'é😀',
        '\ud800',
        undefined,
        null,
        0,
      ];
      const keys = bodies.map((_, i) => String.raw`"{\"${i}\",NULL\\,'}"`);
      toy.handler = completing((_, items) =>
        Promise.resolve(items.map(({ input }) => ({ status: 200, body: bodies[Number(input.name)] }))),
      );
      const letGo = await holdGroups(toy);
      const sent = keys.map((key, i) => toy.send(key, { body: { name: String(i) } }));
      await until(() => waiting(toy) === keys.length);
      await letGo();
      const answers = await Promise.all(sent);
      expect(answers.map(({ text }) => text)).toEqual(bodies.map((body) => JSON.stringify(body) ?? ''));
      expect(commitSizes(toy)).toEqual([keys.length]);
      const again = await Promise.all(keys.map((key, i) => replica.send(key, { body: { name: String(i) } })));
      expect(again.map(isReplay)).toEqual(keys.map(() => true));
      expect(again.map(replyOf)).toEqual(answers.map(replyOf));
    });

    it('do not hold up others for long: a slow group is no longer counted, but four are all there are', async () => {
      const slow = [new Barrier(), new Barrier(), new Barrier(), new Barrier()];
      for (const [i, { pass, reached }] of slow.entries()) {
        if (i > 0) expect((await sendWish(toy, `while-${i}-hold`)).status).toBe(201);
        toy.handler = completing(placeAfter(pass));
        void sendWish(toy, `slow-${i}`);
        await reached.given;
        toy.handler = oneCommit;
      }
      const fifth = sendWish(toy, 'fifth');
      await until(() => waiting(toy) === 1);
      expect(await left(database)).toMatchObject({ effects: 3 });
      slow.forEach(({ open }) => open());
      expect(isReplay(await fifth)).toBe(false);
      await until(async () => (await left(database)).completed === 8);
    });
  });

  describe('of which one', () => {
    it('is refused by its phase: that is recorded and replayed, and the others are not concerned', async () => {
      const isPoor = ({ input }: PhaseItem<Wish>) => input.name === SHARED;
      const refusal = { status: 402, body: { reason: 'poor' } };
      toy.handler = completing(async (tx, items) => {
        const replies = [
          ...(await place(
            tx,
            items.filter((item) => !isPoor(item)),
          )),
        ];
        return items.map((item) => (isPoor(item) ? refusal : (replies.shift() as Reply)));
      });
      const answers = await Promise.all(await inOneGroup(toy, NAMES));
      expect(commitSizes(toy)).toEqual([8]);
      expect(answers.map(({ status }) => status)).toEqual(NAMES.map((name) => (name === SHARED ? 402 : 201)));
      expect(await fulfilled(database)).toEqual(OTHERS);
      expect(await left(database)).toEqual({ keys: 8, completed: 8, intents: 0, effects: 7 });
      toy.handler = oneCommit;
      const again = await sendWish(toy, SHARED);
      expect({ ...replyOf(again), isReplay: isReplay(again) }).toEqual({
        ...replyOf(answers[2] as Response),
        isReplay: true,
      });
    });

    type Spoil = (tx: EntityManager, replies: readonly Reply[], bad: number) => Promise<readonly Reply[]>;
    it.each<[string, Spoil]>([
      ['throws', () => Promise.reject(new Error('spoilt'))],
      ['fails in SQL', (tx) => tx.query('SELECT 1 / 0')],
      [
        'swallows an SQL error',
        (tx, replies) =>
          tx.query('SELECT 1 / 0').then(
            () => [],
            () => replies,
          ),
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
    ])('%s: it alone fails, and its key can be used again', async (_, spoil) => {
      const calls: number[] = [];
      toy.handler = completing(async (tx, items) => {
        calls.push(items.length);
        const replies = await place(tx, items);
        const bad = items.findIndex(({ input }) => input.name === SHARED);
        return bad < 0 ? replies : spoil(tx, replies, bad);
      });
      const answers = await answersOf(await inOneGroup(toy, NAMES));
      expect(answers).toEqual(NAMES.map((name) => ({ status: name === SHARED ? 500 : 201, isReplay: false })));
      expect(calls).toEqual([8, ...NAMES.map(() => 1)]);
      await expectEachOnce(OTHERS);
      toy.handler = oneCommit;
      expect(isReplay(await sendWish(toy, SHARED))).toBe(false);
      await expectEachOnce();
    });

    it('only lost a race: each is run again, alone', async () => {
      const calls: number[] = [];
      const losing = placeAfter((tx, { length }) => {
        calls.push(length);
        return length > 1 && tx.query(`DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$`);
      });
      toy.handler = completing(losing);
      expect(await answersOf(await inOneGroup(toy, NAMES))).toEqual(firstReplies());
      expect(calls).toEqual([8, ...NAMES.map(() => 1)]);
      await expectEachOnce();
    });

    it('has a duplicate gets the same reply, and another request with its key is refused', async () => {
      const letGo = await holdGroups(toy);
      const others = OTHERS.map((name) => sendWish(toy, name));
      const first = sendWish(toy, SHARED);
      await until(() => waiting(toy) === 8);
      const [duplicate, forged] = [sendWish(toy, SHARED), toy.send(SHARED, { body: { name: 'forged' } })];
      await until(() => toy.arrived === 10);
      // The duplicate waits for the first.
      expect(waiting(toy)).toBe(9);
      await letGo();
      expect(await answersOf(others)).toEqual(firstReplies(OTHERS));
      const { status, text } = await first;
      expect(await duplicate).toMatchObject({ status, text });
      // Of the two requests, which are not in one group, either may be the faster.
      const refused = status === 201 ? await forged : await first;
      expect([status, (await forged).status].sort()).toEqual([201, 422]);
      expect(errorOf(refused)).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
      expect(commitSizes(toy)).toContain(8);
      expect(await left(database)).toEqual({ keys: 8, completed: 8, intents: 0, effects: 8 });
    });

    it('has the key of another account has nothing to do with that', async () => {
      const letGo = await holdGroups(toy);
      const accounts = ['a', 'aa', 'b'];
      const sent = accounts.flatMap((account) =>
        ['key', 'akey'].map((key) => toy.send(key, { account, body: { name: account + key } })),
      );
      await until(() => waiting(toy) === 6);
      await letGo();
      expect(await answersOf(sent)).toEqual(firstReplies(sent.map(String)));
      expect(commitSizes(toy)).toEqual([6]);
      const names = (await Promise.all(sent)).map(({ body }) => (body as Wish).name);
      expect(names).toEqual(['akey', 'aakey', 'aakey', 'aaakey', 'bkey', 'bakey']);
      expect(await left(database)).toEqual({ keys: 6, completed: 6, intents: 0, effects: 6 });
    });

    it.each([
      ['under a running lease', (hold: () => Promise<void>) => twoCommits(hold), 1],
      ['within a transaction', (hold: () => Promise<void>) => completing(placeAfter(hold)), 0],
    ])('is in flight elsewhere, %s: it waits for that, and the others do not', async (_, held, intents) => {
      const elsewhere = new Barrier();
      replica.handler = held(elsewhere.pass);
      const first = sendWish(replica, SHARED);
      await elsewhere.reached.given;
      const replies = await inOneGroup(toy, NAMES);
      const waiter = replies.splice(2, 1);
      expect(await answersOf(replies)).toEqual(firstReplies(OTHERS));
      expect(commitSizes(toy)[0]).toBe(8);
      expect(await fulfilled(database)).toEqual(OTHERS);
      elsewhere.open();
      expect(await answersOf(waiter)).toEqual([{ status: 201, isReplay: true }]);
      expect(replyOf((await waiter[0]) as Response)).toEqual(replyOf(await first));
      await expectEachOnce(NAMES, intents);
    });

    it('is locked by a stranger: it waits for that, and the others do not', async () => {
      const hasty = await start({ limits: { ...limits, lock_timeout: 100 } });
      const stranger = await connect(database.url);
      await stranger.query('BEGIN');
      await stranger.query(
        `INSERT INTO processed_requests VALUES
           ('somebody', $1, gen_random_uuid(), 'x', sha256('x'), gen_random_uuid(), 'infinity', NULL, NULL, NULL, now())`,
        [SHARED],
      );
      const replies = await inOneGroup(hasty, NAMES);
      const waiter = replies.splice(2, 1);
      expect(await answersOf(replies)).toEqual(firstReplies(OTHERS));
      await stranger.query('ROLLBACK');
      await stranger.end();
      expect(await answersOf(waiter)).toEqual(firstReplies([SHARED]));
      await expectEachOnce();
    });

    it('has been taken over: it gets the reply of the other, and the others complete', async () => {
      let other: Response | undefined;
      const replies = await completedInOneGroup(toy, NAMES, async () => {
        await database.sql('UPDATE processed_requests SET locked_until = now() WHERE idempotency_key = $1', [SHARED]);
        replica.handler = twoCommits();
        other = await sendWish(replica, SHARED);
      });
      const fencedOff = replies.splice(2, 1);
      expect(await answersOf(replies)).toEqual(firstReplies(OTHERS));
      expect(await answersOf(fencedOff)).toEqual([{ status: 201, isReplay: true }]);
      expect(replyOf((await fencedOff[0]) as Response)).toEqual(replyOf(other as Response));
      expect(toy.events.filter(({ type }) => type === 'fenced_off')).toHaveLength(1);
      await expectEachOnce(NAMES, 8);
    });
  });

  describe('that are cut off', () => {
    it('are not committed, and each can be sent again', async () => {
      const held = new Barrier();
      toy.handler = completing(placeAfter(held.pass));
      const replies = await inOneGroup(toy, NAMES);
      await held.reached.given;
      const busy = `FROM pg_stat_activity WHERE application_name = '${toy.name}' AND state = 'idle in transaction'`;
      expect(await database.sql(`SELECT pg_terminate_backend(pid) ${busy}`)).toHaveLength(1);
      await until(async () => (await database.sql(`SELECT ${busy}`)).length === 0);
      held.open();
      for (const answer of await Promise.all(replies)) {
        const code = 'database_unavailable';
        expect(errorOf(answer)).toMatchObject({ status: 503, code, outcome: 'not_started', retryable: true });
      }
      expect(await left(database)).toEqual(NOTHING);
      expect(await answersOf(NAMES.map((name) => sendWish(toy, name)))).toEqual(firstReplies());
      await expectEachOnce();
    });

    const isWaitedFor = async () =>
      (
        await database.sql(
          `SELECT FROM pg_stat_activity WHERE application_name = '${far.name}' AND wait_event_type = 'Lock'`,
        )
      ).length > 0;

    describe.each(['drop request', 'drop reply', 'late'] as const)('at their COMMIT (%s)', (fault) => {
      const counting = (calls: number[]) =>
        placeAfter((_, items) => {
          calls.push(items.length);
        });
      const resolve = async (replies: Promise<Response>[], before: number) => {
        await until(() => proxy.landed === before + 1);
        if (fault === 'late') {
          await until(isWaitedFor);
          await proxy.releaseLate();
        }
        // Recorded by these very attempts, so these are first replies.
        expect(await answersOf(replies)).toEqual(firstReplies());
      };

      it('each find out what became of them', async () => {
        const calls: number[] = [];
        far.handler = completing(counting(calls));
        const before = proxy.landed;
        proxy.failCommit(fault);
        await resolve(await inOneGroup(far, NAMES), before);
        expect(calls).toEqual(fault === 'drop request' ? [8, ...NAMES.map(() => 1)] : [8]);
        await expectEachOnce();
      });

      it('each find out what became of them, claimed before', async () => {
        const before = proxy.landed;
        await resolve(await completedInOneGroup(far, NAMES, () => proxy.failCommit(fault)), before);
        expect(far.events.filter(({ type }) => type === 'fenced_off')).toEqual([]);
        await expectEachOnce(NAMES, 8);
      });
    });
  });

  describe('that are many', () => {
    it('are refused when 2,048 wait; what has begun is let through', async () => {
      const letGo = await holdGroups(toy);
      const phase = (_: unknown, items: readonly unknown[]) => Promise.resolve(items.map(() => ({ status: 204 })));
      const all = namesOf(2_048).map((name) => groupCommit(toy).commit(unitOf(name, phase)));
      await expect(groupCommit(toy).commit(unitOf('new', phase))).rejects.toMatchObject({
        code: 'overloaded',
        outcome: 'not_started',
        retryAfterSeconds: 1,
      });
      expect(errorOf(await toy.send('new'))).toMatchObject({ status: 503, code: 'overloaded', retryable: true });
      expect(await left(database)).toEqual(NOTHING);
      await letGo();
      const outcomes = await Promise.all(all);
      expect(outcomes.filter(({ kind }) => kind === 'committed')).toHaveLength(2_048);
      expect(commitSizes(toy)).toEqual(Array.from({ length: 32 }, () => 64));
      expect(await left(database)).toEqual({ keys: 2_048, completed: 2_048, intents: 0, effects: 0 });
      expect(isReplay(await toy.send('new'))).toBe(false);
    });

    it('have one effect each when two processes get them at once in opposite order', async () => {
      const [one, other] = [await start(), await start()];
      const names = namesOf(64);
      for (const handler of [oneCommit, twoCommits(), oneCommit]) {
        await empty(database);
        one.handler = other.handler = handler;
        const [first, second] = await Promise.all([
          answersOf(names.map((name) => sendWish(one, name))),
          answersOf(names.toReversed().map((name) => sendWish(other, name))).then((answers) => answers.reverse()),
        ]);
        expect([...first, ...second].filter(({ status }) => status !== 201)).toEqual([]);
        expect(first.map(({ isReplay }, i) => isReplay !== second[i]?.isReplay)).toEqual(names.map(() => true));
        await expectEachOnce(names, handler === oneCommit ? 0 : 64);
      }
      expect(Math.max(...commitSizes(one), ...commitSizes(other))).toBeGreaterThan(8);
      const [row] = await database.sql(
        'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()',
      );
      expect(row).toEqual({ deadlocks: 0 });
    });
  });
});
