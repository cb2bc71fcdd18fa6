// Goal: prove that `happensOnce` accepts handlers that happen once, and rejects handlers that a retry or a crash repeats.
// Method: run it on toy applications and on the payment service, with handlers that are right and handlers with one mistake each.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { INTENT_MISSING, perRequest, type Phase, type Reply } from '../../src/idempotency/index.js';
import { happensOnce } from '../../src/idempotency/testing/index.js';
import { COMMITTERS_ALONE, useCommitter } from '../support/committers.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService } from '../support/service.js';
import { createToyDatabase, empty, left, startToy, stopToys, type Toy } from '../support/toy.js';
import { completing, Effect, type Handler, intend, oneCommit, twoCommits, type Wish } from '../support/toy.handlers.js';

const REQUEST = { path: '/effects', body: { name: 'marble' } };

/** A call of another service that counts each call. */
const CALL = `INSERT INTO effects (account_id, request_id, name) VALUES ('acct_1', gen_random_uuid(), 'call')`;

const placeOne = perRequest<Wish, Reply>(async (tx, { accountId, requestId, input }) => {
  const { id, name } = await tx.save(Effect, { account_id: accountId, request_id: requestId, name: input.name });
  return { status: 201, body: { id, name } };
});

const placeNothing: Phase<Wish, Reply> = async (_, items) =>
  Promise.resolve(items.map(() => ({ status: 201, body: {} })));

describe.each(COMMITTERS_ALONE)('requests that are committed %s:', (committer) => {
  useCommitter(committer);

  describe('happensOnce on a toy application', () => {
    let database: TestDatabase;
    let toy: Toy;
    let resume: Toy['resume'];
    beforeAll(async () => {
      database = await createToyDatabase();
      toy = await startToy(database.url);
      resume = toy.resume;
    });
    beforeEach(async () => {
      await empty(database);
      Object.assign(toy, { handler: oneCommit, resume });
    });
    afterAll(async () => {
      await stopToys();
      await database?.drop();
    });

    const effects = async () => (await left(database)).effects;
    const run = () => happensOnce(toy.app, REQUEST, { effects });

    it.each<[string, Handler, number]>([
      // Twice, at once, and crashes on both sides of one COMMIT.
      ['one commit over a list', oneCommit, 4],
      ['one commit of a phase for one request', completing(placeOne), 4],
      // Twice, at once, four crashes with a retry, and two of them with recovery.
      ['two commits', twoCommits(), 8],
    ])('accepts a handler of %s, and sends a new key for each case', async (_, handler, cases) => {
      toy.handler = handler;
      await run();
      expect(await left(database)).toMatchObject({ keys: cases, completed: cases, effects: cases });
    });

    it.each<[string, () => void, RegExp]>([
      [
        'whose phase writes outside of its transaction, because a crash before COMMIT does not undo that',
        () => {
          const outside: Phase<Wish, Reply> = async (_, items) => {
            const [{ requestId, input } = { requestId: '', input: { name: '' } }] = items;
            const { manager } = toy.app.get(DataSource);
            await manager.insert(Effect, { account_id: 'acct_1', request_id: requestId, name: input.name });
            return items.map(() => ({ status: 201, body: {} }));
          };
          toy.handler = completing(outside);
        },
        /a crash before the COMMIT of claim-and-complete, then a retry: expected 1 effect, but there were 2/,
      ],
      [
        'that calls out between its commits without a key of its own, because a retry calls again',
        () => {
          toy.handler = async (request, wish) => {
            await request.claim(intend, wish);
            await database.sql(CALL);
            return request.complete(placeNothing, wish);
          };
        },
        /a crash before the COMMIT of complete, then a retry: expected 1 effect, but there were 2/,
      ],
      [
        'whose resume gives up a request that has an intent, because recovery then forgets the request',
        () => {
          toy.handler = twoCommits();
          toy.resume = () => Promise.resolve(INTENT_MISSING);
        },
        /a crash after the COMMIT of claim, then recovery: expected the recorded reply/,
      ],
      [
        'that has no effect',
        () => {
          toy.handler = completing(placeNothing);
        },
        /a request that is sent twice: expected 1 effect, but there were 0; the answer was 201 {}/,
      ],
    ])('rejects a handler %s', async (_, prepare, message) => {
      prepare();
      await expect(run()).rejects.toThrow(message);
    });

    it('leaves the application as it was, so that a request after happensOnce gets its reply', async () => {
      toy.handler = twoCommits();
      await run();
      expect((await toy.send('later')).status).toBe(201);
      expect((await Promise.all([toy.send('both'), toy.send('both')])).map(({ status }) => status)).toEqual([201, 201]);
    });

    it('refuses to run twice at once on one application', async () => {
      const both = await Promise.allSettled([run(), run()]);
      expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    });
  });
});

describe('happensOnce on the payment service', () => {
  it('accepts POST /charges, whose effect is the capture at the bank', async () => {
    const database = await createDatabase();
    const service = await startService(database.url);
    const effects = async () => {
      const [row] = await database.sql<{ captures: number }>('SELECT count(*)::int AS captures FROM bank.captures');
      return row?.captures ?? 0;
    };
    await happensOnce(service.nest, { path: '/charges', body: CHARGE }, { effects });
    expect(await effects()).toBe(8);
    await service.stop();
    await database.drop();
  });

  it('accepts POST /orders with an order number of its own for each key', async () => {
    const database = await createDatabase();
    const service = await startService(database.url);
    await service.http.put('/inventory/marble').send({ stock: 100 }).expect(201);
    const effects = async () => (await database.sql('SELECT FROM orders')).length;
    const body = (key: string) => ({
      order_id: key,
      items: [{ item_id: 'marble', quantity: 1, unit_amount: 100 }],
    });
    await happensOnce(service.nest, { path: '/orders', body }, { effects });
    expect(await effects()).toBe(4);
    await service.stop();
    await database.drop();
  });
});
