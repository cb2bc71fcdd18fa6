// Goal: prove that a phase which is one SQL statement gives the same guarantees as a phase which is a function, and that the protocol's SQL uses its indexes.
// Method: run such phases through a toy application, on a client that pipelines and one that does not, and read query plans.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { IdempotentRequest, Reply, StatementPhase } from '../../src/idempotency/index.js';
import { CLAIM_ALL, COMPLETE_ALL } from '../../src/idempotency/commit/group.store.js';
import { SWEEP, TAKE_OVER } from '../../src/idempotency/upkeep/upkeep.store.js';
import { connect, type TestDatabase } from '../support/database.js';
import {
  CLAIMED,
  createToyDatabase,
  empty,
  isReplay,
  left,
  LIMITS,
  NOTHING,
  ONE_COMMIT,
  replyOf,
  startToy,
  stopToys,
  type Toy,
  TWO_COMMITS,
} from '../support/toy.js';
import { intend, place, type Wish } from '../support/toy.handlers.js';

/** Stores the intents in one statement. The name `nameless` violates a constraint, so the statement fails. */
const intending: StatementPhase<Wish, string> = {
  name: 'test_intend',
  text: `
    INSERT INTO intents SELECT account_id, request_id, NULLIF(name, 'nameless')
    FROM jsonb_to_recordset($1::jsonb) AS i (account_id text, request_id uuid, name text)
    ON CONFLICT (account_id, request_id) DO UPDATE SET name = intents.name
    RETURNING request_id`,
  parameters: (items) => [
    JSON.stringify(
      items.map(({ accountId, requestId, input }) => ({ account_id: accountId, request_id: requestId, ...input })),
    ),
  ],
  results: async (_, rows) => (await rows).map(({ request_id }) => String(request_id)),
};

/** Stores the effects in one statement. The replies do not wait for its result. */
const placing: StatementPhase<Wish, Reply> = {
  ...intending,
  name: 'test_place',
  text: `
    INSERT INTO effects (account_id, request_id, name) SELECT account_id, request_id, NULLIF(name, 'nameless')
    FROM jsonb_to_recordset($1::jsonb) AS e (account_id text, request_id uuid, name text)`,
  results: (items) => Promise.resolve(items.map(({ input: { name } }) => ({ status: 201, body: { name } }))),
};

const withResults = <Result>(
  phase: StatementPhase<Wish, Result>,
  results: StatementPhase<Wish, Result>['results'],
) => ({
  ...phase,
  results,
});

describe.each([
  { client: 'awaits each answer', limits: LIMITS },
  { client: 'pipelines', limits: { ...LIMITS, pipeline: 1 } },
])('a phase of one statement, with a database client that $client', ({ limits }) => {
  let database: TestDatabase;
  let toy: Toy;

  beforeAll(async () => {
    database = await createToyDatabase();
    toy = await startToy(database.url, { limits });
  });
  beforeEach(() => empty(database));
  afterAll(async () => {
    await stopToys();
    await database?.drop();
  });

  const send = (name: string) => toy.send(`key-of-${name.replace(' ', '-')}`, { body: { name } });
  const handle = (handler: (request: IdempotentRequest, wish: Wish) => Promise<unknown>) => (toy.handler = handler);

  it('commits the effect of a statement with its key and reply, for one request and for twenty in a group', async () => {
    handle((request, wish) => request.complete(placing, wish));
    const lone = await send('lone');
    expect([lone.status, lone.text]).toEqual([201, '{"name":"lone"}']);
    expect(await left(database)).toEqual(ONE_COMMIT);
    const names = Array.from({ length: 20 }, (_, i) => `wish ${i}`);
    const replies = await Promise.all(names.map(send));
    expect(replies.map(({ body }) => (body as Wish).name)).toEqual(names);
    expect(await left(database)).toEqual({ keys: 21, completed: 21, intents: 0, effects: 21 });
    expect(replyOf(await send('lone'))).toEqual(replyOf(lone));
  });

  it('stores the intent before the handler continues after its claim', async () => {
    handle(async (request, wish) => {
      const intent = await request.claim(intending, wish);
      const [row] = await database.sql('SELECT name FROM intents WHERE request_id = $1', [intent]);
      expect(row).toEqual({ name: wish.name });
      return request.complete(placing, wish);
    });
    expect((await send('kept')).status).toBe(201);
    expect(await left(database)).toEqual(TWO_COMMITS);
  });

  it.each([
    ['a claim', (request: IdempotentRequest, wish: Wish) => request.claim(intending, wish)],
    ['a completion', (request: IdempotentRequest, wish: Wish) => request.complete(placing, wish)],
  ])(
    'leaves nothing of the failed statement of %s, although COMMIT may have been sent behind it',
    async (_, handler) => {
      handle(handler);
      const answers = await Promise.all(['nameless', 'one', 'two'].map(send));
      expect(answers[0]?.status).toBe(500);
      const { keys } = await left(database);
      expect(keys).toBe(2);
      handle((request, wish) => request.complete(place, wish));
      expect(isReplay(await send('nameless'))).toBe(false);
    },
  );

  it.each<[string, StatementPhase<Wish, Reply>]>([
    ['too few results', withResults(placing, () => Promise.resolve([]))],
    ['an error instead of results', withResults(placing, () => Promise.reject(new Error('none')))],
    ['a reply that cannot be sent', withResults(placing, () => Promise.resolve([{ status: 201, body: 1n }]))],
  ])('rolls back the effect of a statement that has %s', async (_, phase) => {
    handle((request, wish) => request.complete(phase, wish));
    expect((await send('lost')).status).toBe(500);
    expect(await left(database)).toEqual(NOTHING);
  });

  it('commits no reply when the statement cannot be sent, because another statement has its name', async () => {
    handle((request, wish) => request.complete(placing, wish));
    expect((await send('first')).status).toBe(201);
    handle((request, wish) => request.complete({ ...placing, text: `${placing.text} -- another` }, wish));
    expect((await send('second')).status).toBe(500);
    expect(await left(database)).toEqual(ONE_COMMIT);
  });

  it('leaves a claim that a later attempt can resume when the results of its statement fail', async () => {
    handle((request, wish) =>
      request.claim(
        withResults(intending, () => Promise.reject(new Error('none'))),
        wish,
      ),
    );
    expect((await send('resumed')).status).toBe(500);
    const after = await left(database);
    // A client that pipelines has already sent COMMIT when the results fail. The other client has not.
    expect([NOTHING, CLAIMED]).toContainEqual(after);
    await database.sql('UPDATE processed_requests SET locked_until = clock_timestamp()');
    handle(async (request, wish) => {
      await request.claim(intend, wish);
      return request.complete(place, wish);
    });
    expect((await send('resumed')).status).toBe(201);
    expect(await left(database)).toEqual(TWO_COMMITS);
  });
});

describe('the query plans of the protocol', () => {
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createToyDatabase();
  });
  afterAll(() => database?.drop());

  interface Plan {
    'Node Type': string;
    'Relation Name'?: string;
    'Index Cond'?: string;
    'Rows Removed by Filter'?: number;
    Plans?: Plan[];
  }
  const nodes = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)];

  const CALLS = [
    [
      'claim',
      CLAIM_ALL,
      `('{a}', '{k}', ARRAY[gen_random_uuid()], '{o}', ARRAY[sha256('')], ARRAY[gen_random_uuid()], 30, 86400, 65536)`,
    ],
    [
      'complete',
      COMPLETE_ALL,
      `('{a}', '{k}', ARRAY[gen_random_uuid()], '{200}', ARRAY['{}'::jsonb], '{b}', 1, 86400)`,
    ],
  ] as const;

  it.each([
    ['the sweep', SWEEP, [86_400, 1_000]],
    ['a takeover', TAKE_OVER, ['POST /effects', '00000000-0000-0000-0000-000000000000', 30, '', [], 5, 120]],
  ])('reads only rows that are due, because the index is searched by time, in %s', async (_, text, values) => {
    await database.sql('TRUNCATE processed_requests');
    await database.sql(
      `INSERT INTO processed_requests
       SELECT 'a', i, gen_random_uuid(), 'POST /effects', sha256(''), gen_random_uuid(), CASE WHEN i > 100 THEN NULL ELSE now() + interval '1 hour' END,
              CASE WHEN i > 100 THEN 200 END, CASE WHEN i > 100 THEN '{}'::jsonb END, CASE WHEN i > 100 THEN '' END, now(), CASE WHEN i > 100 THEN now() END
       FROM generate_series(1, 20000) AS i`,
    );
    await database.sql('ANALYZE processed_requests');
    const [explained] = await database.sql<{ 'QUERY PLAN': { Plan: Plan }[] }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) ${text}`,
      values,
    );
    const reads = nodes(explained?.['QUERY PLAN'][0]?.Plan as Plan).filter(
      (node) => node['Node Type'] === 'Index Scan',
    );
    expect(reads.length).toBeGreaterThan(0);
    for (const { 'Rows Removed by Filter': removed = 0 } of reads) expect(removed).toBe(0);
  });

  // The service prepares its statements once and keeps their plans while the table grows.
  it.each([0, 1, 3, 60, 5_000])(
    'reads keys through the primary key with a plan made when the table had %i rows',
    async (rows) => {
      await database.sql('TRUNCATE processed_requests');
      await database.sql(
        `INSERT INTO processed_requests SELECT 'a', i, gen_random_uuid(), 'o', sha256(''), gen_random_uuid(), now(), NULL, NULL, NULL, now(), NULL
       FROM generate_series(1, $1) AS i`,
        [rows],
      );
      if (rows > 0) await database.sql('ANALYZE processed_requests');
      const client = await connect(database.url);
      try {
        await client.query('BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off');
        for (const [name, text, parameters] of CALLS) {
          await client.query(`PREPARE ${name} AS ${text}`);
          const { rows: explained } = await client.query<{ 'QUERY PLAN': { Plan: Plan }[] }>(
            `EXPLAIN (FORMAT JSON) EXECUTE ${name} ${parameters}`,
          );
          const plan = explained[0]?.['QUERY PLAN'][0]?.Plan as Plan;
          const reads = nodes(plan).filter(
            (node) => node['Relation Name'] === 'processed_requests' && /Scan/.test(node['Node Type']),
          );
          expect(reads.length).toBeGreaterThan(0);
          for (const read of reads) {
            const byKey = /account_id = .*idempotency_key = /.test(read['Index Cond'] ?? '');
            expect([name, read['Node Type'] === 'Tid Scan' || byKey]).toEqual([name, true]);
          }
        }
      } finally {
        await client.end();
      }
    },
  );
});
