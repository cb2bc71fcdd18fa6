// Goal: prove that a cached reply is the recorded reply, that it expires with its row, and that the cache stays within its limit.
// Method: start toy applications with a cache, change the database behind it, and count commits. `ReplyCache` is tested alone.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { fingerprintOf } from '../../src/idempotency/http/fingerprint.js';
import { ReplyCache } from '../../src/idempotency/commit/reply-cache.js';
import { RecordedReply } from '../../src/idempotency/request/reply.js';
import { RequestIdentity } from '../../src/idempotency/request/request-identity.js';
import type { TestDatabase } from '../support/database.js';
import { commitSizes } from '../support/groups.js';
import { startProxy } from '../../harness/proxy.js';
import {
  createToyDatabase,
  empty,
  isReplay,
  replyOf,
  startToy,
  stopToys,
  type Toy,
  type ToySettings,
} from '../support/toy.js';
import { completing, failing, oneCommit, placeAfter, placeAndReply, twoCommits } from '../support/toy.handlers.js';
import { Barrier } from '../support/waiting.js';

const CACHE = { cacheBytes: 1_000_000 };

describe('a reply that the process caches', () => {
  let database: TestDatabase;
  let toy: Toy;
  /** Has no cache. */
  let replica: Toy;

  beforeAll(async () => {
    database = await createToyDatabase();
    replica = await startToy(database.url);
  });
  beforeEach(async () => {
    await empty(database);
    // A new application, so that each test begins with an empty cache.
    toy = await startToy(database.url, CACHE);
    replica.handler = oneCommit;
  });
  afterEach(Barrier.openAll);
  afterAll(async () => {
    await stopToys();
    await database?.drop();
  });

  const start = (settings: ToySettings) => startToy(database.url, { ...CACHE, ...settings });
  const age = (seconds: number) =>
    database.sql('UPDATE processed_requests SET created_at = created_at - make_interval(secs => $1)', [seconds]);

  it('replays a cached reply byte for byte without the database and without the handler', async () => {
    const proxy = await startProxy(database.url);
    const cutOff = await startToy(proxy.url, CACHE);
    const headers = { etag: '"7"', location: '/effects/1' };
    cutOff.handler = completing(placeAndReply({ status: 201, body: { b: 1, a: 'é' }, headers }));
    const first = await cutOff.send('key');
    await proxy.close();
    const second = await cutOff.send('key');
    expect(isReplay(second)).toBe(true);
    expect(replyOf(second)).toEqual(replyOf(first));
    expect(cutOff.arrived).toBe(1);

    expect((await cutOff.send('key', { body: { name: 'pebble' } })).status).toBe(503);
    expect((await cutOff.send('another')).status).toBe(503);
    const outcomes = cutOff.events.flatMap((event) => (event.type === 'answered' ? [event.outcome] : []));
    expect(outcomes).toEqual(['first', 'replayed', 'failed', 'failed']);
  });

  it('reads a reply that another replica recorded once, and then replays it from the cache', async () => {
    const first = await replica.send('key');
    const replays = [await toy.send('key'), await toy.send('key'), await toy.send('key')];
    expect(replays.map(isReplay)).toEqual([true, true, true]);
    expect(replays.map(replyOf)).toEqual(replays.map(() => replyOf(first)));
    expect(commitSizes(toy)).toEqual([1]);
    expect(toy.arrived).toBe(1);
  });

  it('caches a reply that recovery recorded, although recovery knows only the fingerprint of the request', async () => {
    toy.handler = failing;
    await toy.send('key');
    expect(await toy.recovery.runOnce()).toBe(1);
    const commits = commitSizes(toy).length;
    expect(isReplay(await toy.send('key'))).toBe(true);
    expect(commitSizes(toy)).toHaveLength(commits);
    expect((await toy.send('key', { body: { name: 'pebble' } })).status).toBe(422);
  });

  it('reads the reply for every replay when the cache has no memory', async () => {
    await replica.send('key');
    const before = commitSizes(replica).length;
    expect([await replica.send('key'), await replica.send('key')].map(isReplay)).toEqual([true, true]);
    expect(commitSizes(replica)).toHaveLength(before + 2);
  });

  it('does not cache a failure, so that the next attempt runs', async () => {
    toy.handler = failing;
    expect((await toy.send('key')).status).toBe(503);
    expect((await toy.send('key')).status).toBe(503);
    toy.handler = completing(placeAfter(() => Promise.reject(new Error('no'))));
    expect((await toy.send('key')).status).toBe(500);
    toy.handler = twoCommits();
    expect(isReplay(await toy.send('key'))).toBe(false);
    expect(toy.arrived).toBe(4);
  });

  it('does not cache that a request is in progress', async () => {
    const impatient = await start({ waitMs: 30 });
    const holder = new Barrier();
    replica.handler = twoCommits(holder.pass);
    const first = replica.send('key');
    await holder.reached.given;
    expect((await impatient.send('key')).status).toBe(409);
    holder.open();
    await first;
    expect(replyOf(await impatient.send('key'))).toEqual(replyOf(await first));
  });

  it('keeps the cached replies of two accounts with the same key apart', async () => {
    const replies = [await toy.send('key', { account: 'a' }), await toy.send('key', { account: 'b' })];
    replies.push(await toy.send('key', { account: 'a' }), await toy.send('key', { account: 'b' }));
    expect(replies.map(isReplay)).toEqual([false, false, true, true]);
    expect(replies.map(({ body }) => (body as { id: number }).id)).toEqual([1, 2, 1, 2]);
  });

  describe('the expiry of a cached reply', () => {
    const RETENTION_SECONDS = 3_600;
    const brief = { retentionHours: RETENTION_SECONDS / 3_600 };
    afterEach(() => void jest.restoreAllMocks());

    /** Lets the rest of the retention pass, for the row by the clock of the database and for the cache by that of the process. */
    async function expire(): Promise<void> {
      const [row] = await database.sql<{ left: number }>(
        'SELECT extract(epoch FROM created_at - clock_timestamp())::float8 + $1 AS left FROM processed_requests',
        [RETENTION_SECONDS],
      );
      const leftSeconds = row?.left ?? NaN;
      await age(leftSeconds);
      const now = performance.now.bind(performance);
      jest.spyOn(performance, 'now').mockImplementation(() => now() + leftSeconds * 1_000);
    }

    it.each([
      ['was recorded by this process', 'here', 0],
      ['was recorded by this process long after its claim', 'here', 0.45 * RETENTION_SECONDS],
      ['was read when its row was already old', 'elsewhere', 0.6 * RETENTION_SECONDS],
    ])('expires a cached reply with its row, if the reply %s', async (_, where, ageSeconds) => {
      const [caching, other] = [await start(brief), await start({ ...brief, cacheBytes: 0 })];
      const maker = where === 'here' ? caching : other;
      const between = new Barrier();
      maker.handler = twoCommits(between.pass);
      const first = maker.send('key');
      await between.reached.given;
      if (where === 'here') await age(ageSeconds);
      between.open();
      expect((await first).status).toBe(201);
      if (where === 'elsewhere') await age(ageSeconds);

      await caching.send('key');
      const before = commitSizes(caching).length;
      expect(replyOf(await caching.send('key'))).toEqual(replyOf(await first));
      expect(commitSizes(caching)).toHaveLength(before);
      await expire();
      caching.handler = oneCommit;
      const second = await caching.send('key');
      expect(isReplay(second)).toBe(false);
      expect(second.body).toMatchObject({ id: 2 });
      expect(replyOf(await caching.send('key'))).toEqual(replyOf(second));
    });
  });
});

describe('ReplyCache', () => {
  const requestOf = (key: string, accountId = 'acct_1', content = 'content') =>
    new RequestIdentity(accountId, key, 'POST /effects', fingerprintOf(content));
  const EXPIRY = { epochMs: Infinity, notBefore: performance.now() + 60_000 };
  const replyWith = (body: string) => new RecordedReply(201, {}, body, EXPIRY);
  const cacheOf = (cacheBytes: number) => new ReplyCache(cacheBytes);

  it('drops the oldest replies when the cache is full, and stays within its limit', () => {
    const cache = cacheOf(20_000);
    const keys = Array.from({ length: 100 }, (_, i) => `key-${i}`);
    for (const key of keys) cache.keep(requestOf(key), replyWith('x'.repeat(500)));
    const held = keys.filter((key) => cache.find(requestOf(key)));
    expect(held).toEqual(keys.slice(-held.length));
    expect(held.length).toBeGreaterThan(5);
    // 20,000 bytes hold at most 20 bodies of 500 characters, each counted as two bytes.
    expect(held.length).toBeLessThanOrEqual(20);
  });

  it.each([
    ['body', replyWith('x'.repeat(10_000)), requestOf('key')],
    ['headers', new RecordedReply(201, { etag: 'x'.repeat(10_000) }, '', EXPIRY), requestOf('key')],
    ['key', replyWith(''), requestOf('x'.repeat(10_000))],
  ])('does not cache a reply whose %s is too large, and keeps the others', (_, reply, request) => {
    const cache = cacheOf(20_000);
    cache.keep(requestOf('small'), replyWith('{}'));
    cache.keep(request, reply);
    expect(cache.find(request)).toBeUndefined();
    expect(cache.find(requestOf('small'))).toEqual(replyWith('{}'));
  });

  it('does not cache a reply that has already expired', () => {
    const cache = cacheOf(20_000);
    const expiry = { epochMs: 0, notBefore: performance.now() - 1 };
    cache.keep(requestOf('key'), new RecordedReply(201, {}, '{}', expiry));
    expect(cache.find(requestOf('key'))).toBeUndefined();
  });

  it('distinguishes accounts and keys whose joined texts are equal, and different requests with one key', () => {
    const cache = cacheOf(20_000);
    cache.keep(requestOf('b', 'a'), replyWith('{}'));
    expect(cache.find(requestOf('b', 'a'))).toEqual(replyWith('{}'));
    expect(cache.find(requestOf('b', 'a', 'other'))).toBeUndefined();
    for (const [accountId, key] of [
      ['ab', ''],
      ['', 'ab'],
      ['b', 'a'],
      ['1:a', 'b'],
      ['a', '1:b'],
    ]) {
      expect(cache.find(requestOf(key as string, accountId))).toBeUndefined();
    }
  });
});
