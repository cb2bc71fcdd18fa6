import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Body, Controller, type INestApplication, Post } from '@nestjs/common';
import { Idempotent, IdempotencyContext, type IdempotentRequest } from '../../src/idempotency/index.js';
import { InFlight } from '../../src/idempotency/commit/in-flight.js';
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
/** What the requests of one process can have in flight together, in bytes. */
const TOTAL = 128 * 2 ** 20;

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
  /** The bodies that have come, as the application parsed them. They may be collected. */
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
    Object.assign(toy, { handler: oneCommit, events: [], asked: 0 });
  });
  afterEach(Barrier.openAll);
  afterAll(async () => {
    await stopToys();
    await database?.drop();
  });

  const memoryLeft = ({ app }: Toy) => app.get(InFlight)['memory']['left'];
  /** Takes all the memory that an account may have, and returns what gives it back. */
  function fill({ app }: Toy): () => void {
    const [inFlight, leave] = [app.get(InFlight), [] as (() => void)[]];
    while (inFlight['memory'].allows('somebody', 32 * 1_024)) leave.push(inFlight.enter('somebody', 0));
    return () => leave.forEach((each) => each());
  }

  it('keep no body while they wait for the same request', async () => {
    const first = new Barrier();
    toy.handler = twoCommits(first.pass);
    const sent = [toy.send('key')];
    await first.reached.given;
    while (sent.length < 20) sent.push(toy.send('key'));
    await until(() => toy.asked === 20);
    // What is referred to in this turn of the event loop cannot be collected in it.
    await new Promise(setImmediate);
    collectGarbage();
    expect(bodies.map((body) => body.deref())).toEqual([{ name: 'marble' }, ...Array<undefined>(19).fill(undefined)]);
    first.open();
    const answers = await Promise.all(sent);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.map(isReplay).sort()).toEqual([false, ...Array<boolean>(19).fill(true)]);
  });

  it('are refused with 503 when those of their account have as much memory as is left, and those of others are not', async () => {
    const leave = fill(toy);
    expect(memoryLeft(toy)).toBe(TOTAL / 2);
    expect(errorOf(await toy.send('key'))).toMatchObject(OVERLOADED);
    expect(await left(database)).toEqual(NOTHING);
    expect((await toy.send('key', { account: 'another' })).status).toBe(201);
    leave();
    expect((await toy.send('key')).status).toBe(201);
  });

  it('are refused as well when they have no key', async () => {
    const leave = fill(toy);
    expect(errorOf(await toy.sendUnkeyed('/wishes'))).toMatchObject(OVERLOADED);
    leave();
    expect((await toy.sendUnkeyed('/wishes')).status).toBe(201);
  });

  it('count by the size of their bodies', async () => {
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

  it('are told at once that the first is in progress when they are duplicates for which there is no memory', async () => {
    // With room for it, the duplicate would wait for longer than the test may take.
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

  it('give their memory back however they end', async () => {
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
    expect(memoryLeft(toy)).toBe(TOTAL);
  });

  it('give their memory back when they have waited for another request in vain', async () => {
    const impatient = await startToy(database.url, { platform, waitMs: 60 });
    const first = new Barrier();
    impatient.handler = twoCommits(first.pass);
    const sent = impatient.send('key');
    await first.reached.given;
    expect((await impatient.send('key')).status).toBe(409);
    first.open();
    await sent;
    expect(memoryLeft(impatient)).toBe(TOTAL);
  });
});
