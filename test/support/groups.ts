import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from '@jest/globals';
import type { Response } from 'supertest';
import { v7 as uuidv7 } from 'uuid';
import { GroupCommit } from '../../src/idempotency/commit/group-commit.js';
import { fingerprintOf } from '../../src/idempotency/http/fingerprint.js';
import { OneByOne } from '../../src/idempotency/commit/one-by-one.js';
import type { Unit } from '../../src/idempotency/commit/unit.js';
import { RequestIdentity } from '../../src/idempotency/request/request-identity.js';
import type { TestDatabase } from './database.js';
import { type PostgresProxy, startProxy } from '../../harness/proxy.js';
import {
  createToyDatabase,
  empty,
  isReplay,
  left,
  LIMITS,
  startToy,
  stopToys,
  type Toy,
  type ToySettings,
  VARIANTS,
} from './toy.js';
import { oneCommit, twoCommits } from './toy.handlers.js';
import { Barrier, until } from './waiting.js';

/** Maximum number of groups under way at once, including slow ones, as in `group-commit.ts`. */
const MAX_GROUPS = 4;

export const groupCommit = ({ app }: Toy) => app.get(GroupCommit);

/** Number of requests in each commit of a toy. */
export const commitSizes = ({ events }: Toy) =>
  events.flatMap((event) => (event.type === 'committed' ? [event.requests] : []));

/** A unit of work without an HTTP request. */
export const unitOf = (key: string, phase: Unit['phase'], account = 'acct_1'): Unit => ({
  kind: 'claim-and-complete',
  isInDoubt: false,
  identity: new RequestIdentity(account, key, 'POST /effects', fingerprintOf(key)),
  lockToken: randomUUID(),
  newRequestId: uuidv7(),
  phase,
  input: { name: key },
});

/** Number of units that wait for a transaction. */
export function waiting({ app }: Toy): number {
  const queues = [app.get(GroupCommit)['queue']['queues'], app.get(OneByOne)['turns']['waiting']['queues']];
  return queues.flatMap((queue) => [...queue.values()].flat() as unknown[]).length;
}

/**
 * Occupies every group, so that new requests wait and then share a group, until the returned function is called. The units that
 * occupy the groups are rolled back, so they commit nothing and cause no event. Each belongs to another account, so that no
 * limit of an account applies to them.
 */
export async function holdGroups(toy: Toy): Promise<() => Promise<void>> {
  const barriers: Barrier[] = [];
  const ends: Promise<unknown>[] = [];
  while (barriers.length < MAX_GROUPS) {
    const barrier = new Barrier();
    const phase = async () => {
      await barrier.pass();
      throw new Error('let go');
    };
    ends.push(
      groupCommit(toy)
        .commit(unitOf('held', phase, randomUUID()))
        .catch(() => undefined),
    );
    barriers.push(barrier);
    await barrier.reached.given;
  }
  return async () => {
    barriers.forEach(({ open }) => open());
    await Promise.all(ends);
  };
}

/** Sends requests that are certain to be in one group. Resolves when the group has been released. */
export async function inOneGroup(toy: Toy, names: string[]): Promise<Promise<Response>[]> {
  const letGo = await holdGroups(toy);
  const replies = names.map((name) => sendWish(toy, name));
  await until(() => waiting(toy) === names.length);
  await letGo();
  return replies;
}

/** Claims the requests first, calls `beforeCompletion`, and then puts their completions into one group. */
export async function completedInOneGroup(toy: Toy, names: string[], beforeCompletion: () => unknown) {
  const between = names.map(() => new Barrier());
  const places = [...between];
  toy.handler = twoCommits(() => places.pop()?.pass());
  const replies = names.map((name) => sendWish(toy, name));
  await Promise.all(between.map(({ reached }) => reached.given));
  await beforeCompletion();
  const letGo = await holdGroups(toy);
  between.forEach(({ open }) => open());
  await until(() => waiting(toy) === names.length);
  await letGo();
  return replies;
}

/** Sends a request for an effect, with the name of the effect as its key. */
export const sendWish = (toy: Toy, name: string) => toy.send(name, { body: { name } });

export const namesOf = (count: number) => Array.from({ length: count }, (_, i) => `wish-${i}`);

/** Sorted names of the effects whose request is completed under the same name and has the effect in its reply. */
export async function fulfilled({ sql }: TestDatabase): Promise<string[]> {
  const rows = await sql<{ name: string }>(`
    SELECT name FROM effects JOIN processed_requests USING (account_id, request_id)
    WHERE idempotency_key = name AND response_body::jsonb = jsonb_build_object('id', id, 'name', name)`);
  return rows.map(({ name }) => name).sort();
}

export const NAMES = namesOf(8);
/** The third of the eight requests, which a test makes different from the others. */
export const [, , ODD = ''] = NAMES;
/** The other seven requests. */
export const OTHERS = NAMES.filter((name) => name !== ODD);

export const answersOf = async (replies: Promise<Response>[]) =>
  (await Promise.all(replies)).map((answer) => ({ status: answer.status, isReplay: isReplay(answer) }));
export const firstReplies = (names = NAMES) => names.map(() => ({ status: 201, isReplay: false }));

const [FASTIFY, , SERIALIZABLE] = VARIANTS;
const PIPELINE = { ...LIMITS, pipeline: 1 };

/** Database clients with which groups must behave in the same way. A client that pipelines sends COMMIT before the last statement is answered. */
export const CLIENTS = [
  { ...FASTIFY, name: 'a client that awaits each answer', limits: LIMITS },
  { ...FASTIFY, name: 'a client that pipelines', limits: PIPELINE },
  { ...SERIALIZABLE, name: 'a client that pipelines, on a database that is serializable by default', limits: PIPELINE },
];

/** Replicas on one database, which is emptied for each test. */
export interface Replicas {
  database: TestDatabase;
  proxy: PostgresProxy;
  toy: Toy;
  replica: Toy;
  /** A replica that reaches the database through `proxy`, which can fail its COMMITs. */
  far: Toy;
  start(settings?: ToySettings): Promise<Toy>;
  /** Expects that each request has exactly one effect, and that the database contains nothing else. */
  expectEachOnce(names?: string[], intents?: number): Promise<void>;
}

/** Replicas for the tests of one `describe`: started before its first test, stopped after its last. */
export function replicasOf({ platform, isolation, limits }: (typeof CLIENTS)[number]): Replicas {
  const at = {
    start: (settings) => startToy(at.database.url, { platform, limits, ...settings }),
    expectEachOnce: async (names = NAMES, intents = 0) => {
      expect(await fulfilled(at.database)).toEqual([...names].sort());
      const count = names.length;
      expect(await left(at.database)).toEqual({ keys: count, completed: count, intents, effects: count });
    },
  } as Replicas;
  beforeAll(async () => {
    at.database = await createToyDatabase({ isolation });
    at.proxy = await startProxy(at.database.url);
    [at.toy, at.replica] = [await at.start(), await at.start()];
    at.far = await startToy(at.proxy.url, { platform, limits });
  });
  beforeEach(async () => {
    await empty(at.database);
    for (const each of [at.toy, at.replica, at.far]) {
      Object.assign(each, { handler: oneCommit, events: [], asked: 0, arrived: 0 });
      groupCommit(each)['apart'].clear();
    }
  });
  afterEach(Barrier.openAll);
  afterAll(async () => {
    await stopToys();
    await at.proxy?.close();
    await at.database?.drop();
  });
  return at;
}
