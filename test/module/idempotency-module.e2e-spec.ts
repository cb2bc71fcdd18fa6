// Goal: prove the promise of the module alone: one effect and one reply for each key, and errors for keys that are reused.
// Method: send requests to two replicas of a toy application, on each platform and isolation level, and count its rows.
import {
  BadRequestException,
  type CallHandler,
  type PipeTransform,
  UnprocessableEntityException,
} from '@nestjs/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { map } from 'rxjs';
import type { Reply } from '../../src/idempotency/index.js';
import type { TestDatabase } from '../support/database.js';
import {
  createToyDatabase,
  empty,
  errorOf,
  isReplay,
  left,
  NOTHING,
  ONE_COMMIT,
  replyOf,
  startToy,
  stopToys,
  type Toy,
  type ToySettings,
  VARIANTS,
} from '../support/toy.js';
import { completing, oneCommit, place, placeAfter, placeAndReply } from '../support/toy.handlers.js';
import { COMMITTERS, useCommitter } from '../support/committers.js';

describe.each(COMMITTERS)('requests that are committed %s:', (committer) => {
  useCommitter(committer);

  describe.each(VARIANTS)('an idempotent operation on $name', ({ platform, isolation }) => {
    let database: TestDatabase;
    let toy: Toy;
    let replica: Toy;

    beforeAll(async () => {
      database = await createToyDatabase({ isolation });
      [toy, replica] = [await start(), await start()];
    });
    beforeEach(async () => {
      await empty(database);
      toy.handler = replica.handler = oneCommit;
    });
    afterAll(async () => {
      await stopToys();
      await database?.drop();
    });

    const start = (settings: ToySettings = {}) => startToy(database.url, { platform, ...settings });

    describe('the reply', () => {
      it('answers a retry with the bytes of the first reply, without a second effect', async () => {
        const first = await toy.send('key');
        const second = await toy.send('key');
        expect(first.status).toBe(201);
        expect(isReplay(first)).toBe(false);
        expect(replyOf(second)).toEqual(replyOf(first));
        expect(isReplay(second)).toBe(true);
        expect(await left(database)).toEqual(ONE_COMMIT);
      });

      it('answers a retry on another replica with the same reply', async () => {
        const first = await toy.send('key');
        const second = await replica.send('key');
        expect(replyOf(second)).toEqual(replyOf(first));
        expect(isReplay(second)).toBe(true);
      });

      // Adds to test/spec/double-charge: the module alone, on every platform and isolation level, with one commit.
      it('runs one commit once when 30 duplicates reach two replicas at once', async () => {
        const replies = await Promise.all(Array.from({ length: 30 }, (_, i) => (i % 2 ? toy : replica).send('key')));
        expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 201));
        expect(new Set(replies.map((reply) => JSON.stringify(replyOf(reply)))).size).toBe(1);
        expect(replies.filter((reply) => !isReplay(reply))).toHaveLength(1);
        expect(await left(database)).toEqual(ONE_COMMIT);
      });

      it('runs once for each of 20 keys that are sent at once to two replicas', async () => {
        const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`);
        const replies = await Promise.all(keys.map((key, i) => (i % 2 ? toy : replica).send(key)));
        expect(new Set(replies.map(({ text }) => text)).size).toBe(20);
        expect(replies.some(isReplay)).toBe(false);
        expect(await left(database)).toEqual({ keys: 20, completed: 20, intents: 0, effects: 20 });
      });

      it('rolls back and forgets a thrown error, so that the key can be used again', async () => {
        const fail = placeAfter(async (tx, items) => {
          await place(tx, items);
          throw new UnprocessableEntityException('not today');
        });
        toy.handler = completing(fail);
        expect((await toy.send('key')).status).toBe(422);
        expect(await left(database)).toEqual(NOTHING);

        toy.handler = oneCommit;
        expect(isReplay(await toy.send('key'))).toBe(false);
        expect(await left(database)).toEqual(ONE_COMMIT);
      });

      it('records a returned refusal, and replays it to duplicates that waited and to a retry', async () => {
        const refusal: Reply = { status: 409, body: { code: 'sold_out' } };
        toy.handler = completing(placeAndReply(refusal));
        const replies = await Promise.all(Array.from({ length: 8 }, () => toy.send('key')));
        toy.handler = oneCommit;
        for (const reply of [...replies, await toy.send('key')]) {
          expect(replyOf(reply)).toMatchObject({ status: 409, text: '{"code":"sold_out"}' });
        }
        expect(await left(database)).toEqual(ONE_COMMIT);
      });

      it.each<{ what: string; reply: Reply; sent: object }>([
        { what: 'no content', reply: { status: 204 }, sent: { text: '', type: undefined } },
        { what: 'null', reply: { status: 200, body: null }, sent: { text: 'null' } },
        { what: 'an empty string', reply: { status: 200, body: '' }, sent: { text: '""' } },
        {
          what: 'members out of order, and awkward text',
          reply: { status: 200, body: { z: 1, '10': 2, '9': { b: 1, a: ['é', '\u0000', '\u2028', '\ud800', '"\\'] } } },
          sent: { text: String.raw`{"9":{"b":1,"a":["é","\u0000","${'\u2028'}","\ud800","\"\\"]},"10":2,"z":1}` },
        },
        {
          what: 'headers of its own',
          reply: { status: 201, body: {}, headers: { etag: '"7"', location: '/effects/1' } },
          sent: { etag: '"7"', location: '/effects/1', type: 'application/json; charset=utf-8' },
        },
        {
          what: 'its own media type',
          reply: { status: 402, body: {}, headers: { 'content-type': 'application/problem+json; charset=utf-8' } },
          sent: { type: 'application/problem+json; charset=utf-8' },
        },
        {
          what: 'its own media type, in capitals',
          reply: { status: 402, body: {}, headers: { 'Content-Type': 'application/problem+json; charset=utf-8' } },
          sent: { type: 'application/problem+json; charset=utf-8' },
        },
      ])('replays a reply exactly as it was sent: $what', async ({ reply, sent }) => {
        toy.handler = completing(placeAndReply(reply));
        const first = await toy.send('key');
        const second = await replica.send('key');
        expect(replyOf(first)).toMatchObject({ status: reply.status, ...sent });
        expect(replyOf(second)).toEqual(replyOf(first));
        const [row] = await database.sql<{ response_body: string }>('SELECT response_body FROM processed_requests');
        expect(row?.response_body).toBe(first.text);
      });

      it('records the reply that complete was given, although an outer interceptor changes what is sent', async () => {
        const envelope = {
          intercept: (_: unknown, next: CallHandler) => next.handle().pipe(map((body) => `{"data":${body}}`)),
        };
        const wrapped = await start({ prepare: (app) => app.useGlobalInterceptors(envelope) });
        const first = await wrapped.send('key');
        expect(first.text).toBe('{"data":{"id":1,"name":"marble"}}');
        expect((await wrapped.send('key')).text).toBe(first.text);
        expect((await toy.send('key')).text).toBe('{"id":1,"name":"marble"}');
      });
    });

    describe('the comparison of requests with one key', () => {
      it.each([
        ['the same bytes', '{"name":"marble","size":{"x":1,"y":2}}'],
        ['another member order', '{"size":{"y":2,"x":1},"name":"marble"}'],
        ['other white space and other escapes', '{ "name": "m\\u0061rble",\n "size": {"x": 1.0, "y": 2e0} }'],
      ])('replays to a request with the same content: %s', async (_, body) => {
        const first = await toy.send('key', { body: { name: 'marble', size: { x: 1, y: 2 } } });
        const second = await toy.send('key', { body });
        expect(replyOf(second)).toEqual(replyOf(first));
        expect(await left(database)).toEqual(ONE_COMMIT);
      });

      it.each([
        ['another body', { body: { name: 'pebble' } }],
        ['another route', { path: '/effects/a' }],
      ])('answers 422 to a used key with %s', async (_, other) => {
        const first = await toy.send('key');
        const refused = await toy.send('key', other);
        expect(errorOf(refused)).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
        expect(replyOf(await toy.send('key'))).toEqual(replyOf(first));
        expect(await left(database)).toEqual(ONE_COMMIT);
      });

      it.each([
        ['route parameter', '/effects/a', '/effects/b'],
        ['query', '/effects?size=1&page=1', '/effects?size=1&page=2'],
        ['query than none', '/effects', '/effects?page=1'],
      ])('answers 422 to a used key with another %s', async (_, path, other) => {
        const first = await toy.send('key', { path });
        expect((await toy.send('key', { path: other })).status).toBe(422);
        expect(replyOf(await toy.send('key', { path }))).toEqual(replyOf(first));
        expect(await left(database)).toEqual(ONE_COMMIT);
      });

      it('runs the requests of two accounts that use the same key', async () => {
        const [mine, yours] = await Promise.all(['me', 'you'].map((account) => toy.send('key', { account })));
        expect([mine, yours].map((reply) => reply && isReplay(reply))).toEqual([false, false]);
        expect((await toy.send('key', { account: 'you', body: { name: 'pebble' } })).status).toBe(422);
        const rows = await database.sql('SELECT account_id FROM effects ORDER BY 1');
        expect(rows).toEqual([{ account_id: 'me' }, { account_id: 'you' }]);
      });

      it('leaves the key unused when validation refuses the body, however deeply it is nested', async () => {
        const named: PipeTransform<object> = {
          transform: (value, { type }) => {
            if (type === 'body' && !('name' in value)) throw new BadRequestException('no name');
            return value;
          },
        };
        const strict = await start({ prepare: (app) => app.useGlobalPipes(named) });
        expect((await strict.send('key', { body: {} })).status).toBe(400);
        expect((await strict.send('key', { body: '['.repeat(20_000) + ']'.repeat(20_000) })).status).toBe(400);
        expect((await strict.send('key')).status).toBe(201);
        expect(await left(database)).toEqual(ONE_COMMIT);
      });
    });
  });
});
