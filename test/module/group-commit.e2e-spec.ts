// Goal: prove that requests which share a commit get the same guarantees as requests that are committed alone, and specify how large groups become.
// Method: hold every group (`holdGroups`) until requests wait, release them into one group, and compare commits, replies and rows.
import { describe, expect, it } from '@jest/globals';
import type { Response } from 'supertest';
import type { Phase, Reply } from '../../src/idempotency/index.js';
import {
  answersOf,
  CLIENTS,
  commitSizes,
  completedInOneGroup,
  firstReplies,
  holdGroups,
  inOneGroup,
  NAMES,
  namesOf,
  replicasOf,
  sendWish,
  waiting,
} from '../support/groups.js';
import { empty, isReplay, left, ONE_COMMIT, replyOf } from '../support/toy.js';
import { completing, oneCommit, place, placeAfter, twoCommits, type Wish } from '../support/toy.handlers.js';
import { Barrier, until } from '../support/waiting.js';

describe.each(CLIENTS)('requests in one commit, with $name', (client) => {
  const at = replicasOf(client);

  describe('a group without an error', () => {
    it('runs each phase once for a group of eight, and gives each request its own reply', async () => {
      const calls: string[][] = [];
      const noting: Phase<Wish, Reply> = (tx, items) => {
        calls.push(items.map(({ input }) => input.name));
        return place(tx, items);
      };
      const other: Phase<Wish, Reply> = (tx, items) => noting(tx, items);
      at.toy.handler = (request, wish) => request.complete(wish.name < 'wish-5' ? noting : other, wish);
      const answers = await Promise.all(await inOneGroup(at.toy, NAMES));
      expect(calls).toEqual([NAMES.slice(0, 5), NAMES.slice(5)]);
      expect(commitSizes(at.toy)).toEqual([8]);
      expect(answers.map(({ body }) => (body as Wish).name)).toEqual(NAMES);
      await at.expectEachOnce();
      for (const [i, name] of NAMES.entries()) {
        const again = await sendWish(at.replica, name);
        expect(isReplay(again)).toBe(true);
        expect(replyOf(again)).toEqual(replyOf(answers[i] as Response));
      }
    });

    it('commits the completions of eight claimed requests together', async () => {
      expect(await answersOf(await completedInOneGroup(at.toy, NAMES, () => (at.toy.events = [])))).toEqual(
        firstReplies(),
      );
      expect(commitSizes(at.toy)).toEqual([8]);
      await at.expectEachOnce(NAMES, 8);
    });

    it('groups only requests that wait for a commit under way, so that a lone request commits at once', async () => {
      expect(isReplay(await sendWish(at.toy, 'alone'))).toBe(false);
      expect(commitSizes(at.toy)).toEqual([1]);
      expect(await left(at.database)).toEqual(ONE_COMMIT);

      const names = namesOf(200);
      expect(await answersOf(await inOneGroup(at.toy, names))).toEqual(firstReplies(names));
      const sizes = commitSizes(at.toy).slice(1);
      expect(sizes.toSorted((one, other) => one - other)).toEqual([8, 64, 64, 64]);
      await at.expectEachOnce([...names, 'alone']);
    });

    it.each([
      { maxGroupSize: 3, sizes: [3, 3, 2] },
      { maxGroupSize: 2, sizes: [2, 2, 2, 2] },
    ])('commits at most $maxGroupSize requests together if that is the limit', async ({ maxGroupSize, sizes }) => {
      const small = await at.start({ maxGroupSize });
      expect(await answersOf(await inOneGroup(small, NAMES))).toEqual(firstReplies());
      expect(commitSizes(small).sort().reverse()).toEqual(sizes);
      await at.expectEachOnce();
    });

    it('gives each request of a group the exact bytes of its own reply, also with unusual bodies and keys', async () => {
      const bodies = ['', '"', '\\', '\\"', '{"a",b}', 'NULL', '\0\n', 'é😀\ud800', undefined, null, 0];
      const keys = bodies.map((_, i) => String.raw`"{\"${i}\",NULL\\,'}"`);
      at.toy.handler = completing((_, items) =>
        Promise.resolve(items.map(({ input }) => ({ status: 200, body: bodies[Number(input.name)] }))),
      );
      const letGo = await holdGroups(at.toy);
      const sent = keys.map((key, i) => at.toy.send(key, { body: { name: String(i) } }));
      await until(() => waiting(at.toy) === keys.length);
      await letGo();
      const answers = await Promise.all(sent);
      expect(answers.map(({ text }) => text)).toEqual(bodies.map((body) => JSON.stringify(body) ?? ''));
      expect(commitSizes(at.toy)).toEqual([keys.length]);
      const again = await Promise.all(keys.map((key, i) => at.replica.send(key, { body: { name: String(i) } })));
      expect(again.map(isReplay)).toEqual(keys.map(() => true));
      expect(again.map(replyOf)).toEqual(answers.map(replyOf));
    });

    it('starts further groups beside slow ones, but never more than four groups at once', async () => {
      const slow = [new Barrier(), new Barrier(), new Barrier(), new Barrier()];
      for (const [i, { pass, reached }] of slow.entries()) {
        if (i > 0) expect((await sendWish(at.toy, `while-${i}-hold`)).status).toBe(201);
        at.toy.handler = completing(placeAfter(pass));
        void sendWish(at.toy, `slow-${i}`);
        await reached.given;
        at.toy.handler = oneCommit;
      }
      const fifth = sendWish(at.toy, 'fifth');
      await until(() => waiting(at.toy) === 1);
      expect(await left(at.database)).toMatchObject({ effects: 3 });
      slow.forEach(({ open }) => open());
      expect(isReplay(await fifth)).toBe(false);
      await until(async () => (await left(at.database)).completed === 8);
    });
  });

  describe('two processes with the same keys', () => {
    // Adds to test/spec/double-charge: 64 keys in shared commits, whose rows two processes lock in opposite order.
    it('gives each of 64 requests one effect without a deadlock when two processes receive them in opposite order', async () => {
      const [one, other] = [await at.start(), await at.start()];
      const names = namesOf(64);
      // Slow enough that the transactions of the two processes overlap.
      await at.database.sql(`
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END';
        CREATE TRIGGER dawdle BEFORE INSERT ON processed_requests FOR EACH ROW EXECUTE FUNCTION dawdle()`);
      for (const handler of [oneCommit, twoCommits(), oneCommit]) {
        await empty(at.database);
        one.handler = other.handler = handler;
        const letGo = await Promise.all([holdGroups(one), holdGroups(other)]);
        const sent = names.map((name) => sendWish(one, name));
        const sentBackwards = names.toReversed().map((name) => sendWish(other, name));
        await until(() => waiting(one) === 64 && waiting(other) === 64);
        await Promise.all(letGo.map((go) => go()));
        const first = await answersOf(sent);
        const second = (await answersOf(sentBackwards)).reverse();
        expect([...first, ...second].filter(({ status }) => status !== 201)).toEqual([]);
        expect(first.map(({ isReplay }, i) => isReplay !== second[i]?.isReplay)).toEqual(names.map(() => true));
        await at.expectEachOnce(names, handler === oneCommit ? 0 : 64);
      }
      expect([one, other].map((each) => Math.max(...commitSizes(each)))).toEqual([64, 64]);
      await at.database.sql('DROP FUNCTION dawdle CASCADE');
      // A backend reports its counts when it ends.
      const ending = 'SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name IN ($1, $2)';
      await at.database.sql(ending, [one.name, other.name]);
      const counted = 'SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()';
      expect(await at.database.sql(counted)).toEqual([{ deadlocks: 0 }]);
    });
  });
});
