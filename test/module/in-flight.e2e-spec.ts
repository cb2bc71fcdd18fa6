// Goal: prove that the memory for requests in flight is bounded, shared fairly between accounts, and always given back.
// Method: fill that memory, or hold a first request, in toy applications on Fastify and Express.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Body, Controller, type INestApplication, Post } from '@nestjs/common';
import { Idempotent, IdempotencyContext, type IdempotentRequest } from '../../src/idempotency/index.js';
import { InFlight } from '../../src/idempotency/commit/in-flight.js';
import { CommitUnknown } from '../../src/postgres/transaction.js';
import type { TestDatabase } from '../support/database.js';
import {
  createToyDatabase,
  empty,
  errorOf,
  isReplay,
  left,
  NOTHING,
  startToy,
  stopToys,
  type Toy,
  VARIANTS,
} from '../support/toy.js';
import { completing, failing, oneCommit, place, placeAfter, twoCommits, type Wish } from '../support/toy.handlers.js';
import { Barrier, until } from '../support/waiting.js';

const OVERLOADED = { status: 503, code: 'overloaded', outcome: 'not_started', retryable: true };
/** Bytes that all requests in flight of one process may occupy, the same number as in `in-flight.ts`. */
const TOTAL_BYTES = 128 * 2 ** 20;

@Controller('wishes')
class WishesController {
  @Post()
  @Idempotent({ key: 'optional' })
  create(@Body() wish: object, @IdempotencyContext() request: IdempotentRequest) {
    return request.complete(place, wish as Wish);
  }
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe.each(VARIANTS.slice(0, 2))('the requests in flight on $name', ({ platform }) => {
  let database: TestDatabase;
  let toy: Toy;
  /** Weak references to the parsed bodies, which show whether a body has been collected. */
  let bodies: WeakRef<object>[];

  beforeAll(async () => {
    database = await createToyDatabase();
    const prepare = (app: INestApplication) =>
      app.useGlobalGuards({
        canActivate: (context) => {
          bodies.push(new WeakRef(context.switchToHttp().getRequest<{ body: object }>().body));
          return true;
        },
      });
    toy = await startToy(database.url, { platform, controllers: [WishesController], prepare });
  });
  beforeEach(async () => {
    await empty(database);
    bodies = [];
    Object.assign(toy, { handler: oneCommit, events: [], asked: 0, arrived: 0 });
  });
  afterEach(Barrier.openAll);
  afterAll(async () => {
    await stopToys();
    await database?.drop();
  });

  const memoryLeft = ({ app }: Toy) => app.get(InFlight)['memory']['left'];
  /** Takes all the memory that the default account may use. The returned function gives the memory back. */
  function fill({ app }: Toy): () => void {
    const [inFlight, leave] = [app.get(InFlight), [] as (() => void)[]];
    while (inFlight['memory'].allows('acct_1', 32 * 1_024)) leave.push(inFlight.enter('acct_1', 0));
    return () => leave.forEach((each) => each());
  }

  it('keeps no body of a duplicate in memory while the duplicate waits', async () => {
    const first = new Barrier();
    toy.handler = twoCommits(first.pass);
    const sent = [toy.send('key')];
    await first.reached.given;
    while (sent.length < 20) sent.push(toy.send('key'));
    await until(() => toy.asked === 20);
    // A weak reference that was created in this turn of the event loop keeps its target until the next turn.
    await new Promise(setImmediate);
    collectGarbage();
    expect(bodies.map((body) => body.deref())).toEqual([{ name: 'marble' }, ...Array<undefined>(19).fill(undefined)]);
    first.open();
    const answers = await Promise.all(sent);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.map(isReplay).sort()).toEqual([false, ...Array<boolean>(19).fill(true)]);
  });

  it('answers 503 overloaded when an account uses as much memory as is left, and serves other accounts', async () => {
    const leave = fill(toy);
    expect(memoryLeft(toy)).toBe(TOTAL_BYTES / 2);
    expect(errorOf(await toy.send('key'))).toMatchObject(OVERLOADED);
    expect(await left(database)).toEqual(NOTHING);
    expect((await toy.send('key', { account: 'another' })).status).toBe(201);
    leave();
    expect((await toy.send('key')).status).toBe(201);
  });

  it('answers 503 overloaded also to requests without a key', async () => {
    const leave = fill(toy);
    expect(errorOf(await toy.sendUnkeyed('/wishes'))).toMatchObject(OVERLOADED);
    leave();
    expect((await toy.sendUnkeyed('/wishes')).status).toBe(201);
  });

  it('counts requests in flight by the size of their bodies', async () => {
    const before = memoryLeft(toy);
    const first = new Barrier();
    toy.handler = twoCommits(first.pass);
    const sent = toy.send('key', { body: { name: 'x'.repeat(50_000) } });
    await first.reached.given;
    expect(before - memoryLeft(toy)).toBeGreaterThan(200_000);
    first.open();
    await sent;
    expect(memoryLeft(toy)).toBe(before);
  });

  it('answers 409 at once to a duplicate for which there is no memory', async () => {
    // If there were memory for the duplicate, it would wait for longer than the test may take.
    const patient = await startToy(database.url, { platform, waitMs: 3_600_000 });
    const first = new Barrier();
    patient.handler = twoCommits(first.pass);
    const sent = patient.send('key');
    await first.reached.given;
    const leave = fill(patient);
    const code = 'idempotency_key_in_progress';
    expect(errorOf(await patient.send('key'))).toMatchObject({
      status: 409,
      code,
      outcome: 'unknown',
      retryable: true,
    });
    leave();
    first.open();
    expect((await sent).status).toBe(201);
  });

  it('gives the memory of a request back, however the request ends', async () => {
    const other = { body: { name: 'pebble' } };
    await toy.send('done');
    toy.handler = failing;
    await toy.send('failed');
    toy.handler = completing(placeAfter(() => Promise.reject(new Error('no'))));
    await toy.send('thrown');
    toy.handler = () => Promise.resolve('something else');
    await toy.send('wrong');
    toy.handler = oneCommit;
    for (const [key, request] of [['done'], ['done', other], ['failed', other], ['']] as const)
      await toy.send(key, request);
    await toy.sendUnkeyed('/wishes');
    expect(memoryLeft(toy)).toBe(TOTAL_BYTES);
  });

  it('gives the memory of a duplicate back when its wait is over', async () => {
    const impatient = await startToy(database.url, { platform, waitMs: 60 });
    const first = new Barrier();
    impatient.handler = twoCommits(first.pass);
    const sent = impatient.send('key');
    await first.reached.given;
    expect((await impatient.send('key')).status).toBe(409);
    first.open();
    await sent;
    expect(memoryLeft(impatient)).toBe(TOTAL_BYTES);
  });

  it('answers 503 unknown to a duplicate of a request whose commit is unknown', async () => {
    const commit = new Barrier();
    toy.handler = completing(async () => {
      await commit.pass();
      throw new CommitUnknown('The answer to COMMIT was lost', {
        cause: new Error('Connection terminated unexpectedly'),
      });
    });
    const sent = [toy.send('key'), toy.send('key')];
    await commit.reached.given;
    await until(() => toy.asked === 2);
    commit.open();
    for (const answer of await Promise.all(sent)) {
      expect(errorOf(answer)).toMatchObject({ status: 503, code: 'database_unavailable', outcome: 'unknown' });
    }
    expect(toy.arrived).toBe(1);
  });
});
