// Goal: prove that a reply which is committed can be sent. A reply that HTTP cannot carry fails before the commit, so nothing is left behind.
// Method: let the phase of a toy return such replies, on each platform and with each committer, and count rows.
import { Body, Controller, Post } from '@nestjs/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { IdempotencyContext, Idempotent, type IdempotentRequest, type Reply } from '../../src/idempotency/index.js';
import { COMMITTERS, useCommitter } from '../support/committers.js';
import type { TestDatabase } from '../support/database.js';
import {
  CLAIMED,
  createToyDatabase,
  empty,
  left,
  logged,
  NOTHING,
  ONE_COMMIT,
  startToy,
  stopToys,
  type Toy,
  TWO_COMMITS,
  VARIANTS,
} from '../support/toy.js';
import { completing, intend, oneCommit, place, placeAndReply, type Wish } from '../support/toy.handlers.js';

const UNSENDABLE: { name: string; reply: Reply; says: string }[] = [
  { name: 'the status 99', reply: { status: 99 }, says: 'from 200 to 599' },
  { name: 'the status 103, which announces another reply', reply: { status: 103 }, says: 'from 200 to 599' },
  { name: 'the status 600', reply: { status: 600 }, says: 'from 200 to 599' },
  { name: 'a status that is not an integer', reply: { status: 200.5 }, says: 'from 200 to 599' },
  { name: 'a header whose name has a space', reply: { status: 201, headers: { 'x y': '1' } }, says: 'Header name' },
  { name: 'a header of two lines', reply: { status: 201, headers: { 'x-a': 'b\nc' } }, says: 'header content ["x-a"]' },
  { name: 'a body that has no JSON text', reply: { status: 201, body: () => undefined }, says: 'a function' },
];

/** An operation whose key is optional. Its phase is a statement, so GroupCommit could send COMMIT before it has seen the reply. */
@Controller('shelves')
class ShelvesController {
  static reply: Reply = { status: 200 };

  @Post()
  @Idempotent({ key: 'optional' })
  create(@Body() { name }: Wish, @IdempotencyContext() request: IdempotentRequest) {
    return request.complete(
      {
        name: 'put_on_shelf',
        text: `INSERT INTO effects (account_id, request_id, name) SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[])`,
        parameters: (items) => [
          items.map(({ accountId }) => accountId),
          items.map(({ requestId }) => requestId),
          items.map(() => name),
        ],
        results: (items) => Promise.resolve(items.map(() => ShelvesController.reply)),
      },
      undefined,
    );
  }
}

describe.each(COMMITTERS)('a reply that cannot be sent, committed %s:', (committer) => {
  useCommitter(committer);

  describe.each(VARIANTS.slice(0, 2))('on $name', ({ platform }) => {
    let database: TestDatabase;
    let toy: Toy;

    beforeAll(async () => {
      database = await createToyDatabase();
      toy = await startToy(database.url, { platform, controllers: [ShelvesController] });
    });
    beforeEach(async () => {
      await empty(database);
      logged.length = 0;
    });
    afterAll(async () => {
      await stopToys();
      await database?.drop();
    });

    it.each(UNSENDABLE)(
      'answers 500 to $name and commits nothing, so that the key is still new',
      async ({ reply, says }) => {
        toy.handler = completing(placeAndReply(reply));
        expect((await toy.send('key')).status).toBe(500);
        expect(await left(database)).toEqual(NOTHING);
        expect(logged.join('\n')).toContain(says);
        toy.handler = oneCommit;
        expect((await toy.send('key')).status).toBe(201);
        expect(await left(database)).toEqual(ONE_COMMIT);
      },
    );

    it('keeps the intent of a claimed request whose reply cannot be sent, so that a later attempt completes it', async () => {
      toy.handler = async (request, wish) => {
        await request.claim(intend, wish);
        return request.complete(placeAndReply({ status: 600 }), wish);
      };
      expect((await toy.send('key')).status).toBe(500);
      expect(await left(database)).toEqual(CLAIMED);
      toy.handler = async (request, wish) => {
        await request.claim(intend, wish);
        return request.complete(place, wish);
      };
      expect((await toy.send('key')).status).toBe(201);
      expect(await left(database)).toEqual(TWO_COMMITS);
    });

    it.each(UNSENDABLE)('answers 500 to $name of a request without a key, and commits nothing', async ({ reply }) => {
      ShelvesController.reply = reply;
      expect((await toy.sendUnkeyed('/shelves')).status).toBe(500);
      expect(await left(database)).toEqual(NOTHING);
    });
  });
});
