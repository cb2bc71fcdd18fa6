// Goal: specify recovery: turns between accounts, postponed retries, requests without an intent, and the cost of a takeover.
// Method: insert claimed requests whose leases have expired (`abandon`), and run recovery with a resume that each test chooses.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { INTENT_MISSING, UpkeepStore } from '../../src/idempotency/index.js';
import { FORGET } from '../../src/idempotency/store/idempotency.store.js';
import { TAKE_OVER } from '../../src/idempotency/upkeep/upkeep.store.js';
import type { TestDatabase } from '../support/database.js';
import {
  CLAIMED,
  createToyDatabase,
  empty,
  isReplay,
  left,
  logged,
  NOTHING,
  ONE_COMMIT,
  requestIds,
  startToy,
  stopToys,
  type Toy,
  type ToySettings,
  TWO_COMMITS,
} from '../support/toy.js';
import { failing, oneCommit, twoCommits } from '../support/toy.handlers.js';
import { until } from '../support/waiting.js';

const HOUR_S = 3_600;
const TOKEN = '00000000-0000-0000-0000-000000000000';

let database: TestDatabase;
/** Recovery runs here only when a test calls it, because its interval is an hour. */
let toy: Toy;
let resume: Toy['resume'];
/** A resume that awaits `held` is held until the test, or `afterEach`, calls `letGo`. */
let held: Promise<void>;
let letGo: () => void;

beforeAll(async () => {
  database = await createToyDatabase();
  toy = await start();
  ({ resume } = toy);
});
beforeEach(async () => {
  await empty(database);
  held = new Promise((resolve) => (letGo = resolve));
  logged.length = 0;
  Object.assign(toy, { handler: oneCommit, resume, events: [] });
});
afterEach(() => letGo());
afterAll(async () => {
  await stopToys();
  await database?.drop();
});

const start = (settings: ToySettings = {}) => startToy(database.url, settings);

/** Inserts requests of an account that are claimed, with their intents, and whose leases have expired. */
const abandon = (account: string, count: number, ageSeconds = 0) =>
  database.sql(
    `WITH abandoned AS (
       INSERT INTO processed_requests (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
       SELECT $1, 'key ' || i, gen_random_uuid(), 'POST /effects', sha256('x'), gen_random_uuid(), clock_timestamp(),
              clock_timestamp() - make_interval(secs => $3)
       FROM generate_series(1, $2) AS i RETURNING account_id, request_id)
     INSERT INTO intents SELECT account_id, request_id, 'left' FROM abandoned`,
    [account, count, ageSeconds],
  );
const now = async () => (await database.sql<{ now: Date }>('SELECT clock_timestamp() AS now'))[0]?.now ?? new Date(NaN);
/** Seconds from `from` until recovery may take over each request of the account again. */
const pausesOf = async (account: string, from: Date) =>
  (
    await database.sql<{ pause: number | null }>(
      'SELECT extract(epoch FROM recover_at - $2)::float8 AS pause FROM processed_requests WHERE account_id = $1',
      [account, from],
    )
  ).map(({ pause }) => pause ?? NaN);
const noAnswer = () => Promise.reject(new Error('no answer'));

describe('a key that has expired and is taken by a new request', () => {
  it('recovers the new request at once, although the request before it was postponed', async () => {
    toy.handler = failing;
    expect((await toy.send('key')).status).toBe(503);
    expect(await toy.recovery.runOnce()).toBe(1);
    await database.sql("UPDATE processed_requests SET created_at = now() - interval '24 hours 1 second'");
    expect((await toy.send('key')).status).toBe(503);
    expect(await toy.recovery.runOnce()).toBe(1);
    expect(await left(database)).toEqual({ keys: 1, completed: 1, intents: 2, effects: 2 });
  });
});

describe('recovery of several accounts', () => {
  it('resumes the request of an account in its turn, although another account has 120 that cannot be finished', async () => {
    await abandon('a', 120);
    await abandon('b', 1);
    const accounts: string[] = [];
    toy.resume = (abandoned) => {
      accounts.push(abandoned.accountId);
      return abandoned.accountId === 'a' ? noAnswer() : resume(abandoned);
    };
    const before = await now();
    expect(await toy.recovery.runOnce()).toBe(1);
    const after = await now();
    expect(accounts.indexOf('b')).toBe(1);
    // Recovery tried each of the 120 once, and postponed it.
    expect(accounts).toHaveLength(121);
    expect(Math.min(...(await pausesOf('a', before)))).toBeGreaterThanOrEqual(HOUR_S / 2);
    expect(Math.max(...(await pausesOf('a', after)))).toBeLessThanOrEqual(HOUR_S);
    expect(await left(database)).toEqual({ keys: 121, completed: 1, intents: 121, effects: 1 });
  });

  it('gives each account its turn, although 40 accounts have more requests than can be resumed at once', async () => {
    const names = Array.from({ length: 40 }, (_, i) => `account ${i}`);
    for (const name of names) await abandon(name, 3);
    const accounts: string[] = [];
    toy.resume = (abandoned) => {
      accounts.push(abandoned.accountId);
      return resume(abandoned);
    };
    expect(await toy.recovery.runOnce()).toBe(120);
    for (const round of [accounts.slice(0, 40), accounts.slice(40, 80), accounts.slice(80)]) {
      expect([...round].sort()).toEqual([...names].sort());
    }
  });

  it('resumes the request of one account while 30 requests of another account wait for their bank', async () => {
    const busy = await start({ recoveryIntervalMs: 20 });
    let waiting = 0;
    busy.resume = async (abandoned) => {
      if (abandoned.accountId === 'a') {
        waiting++;
        await held;
      }
      return resume(abandoned);
    };
    await abandon('a', 30);
    await until(() => waiting === 8);
    await abandon('b', 1);
    await until(async () => (await left(database)).effects === 1);
    // One account may use half of the requests that are resumed at once.
    expect(waiting).toBe(8);
    letGo();
    await until(async () => (await left(database)).effects === 31);
    await busy.app.close();
  });

  it('takes over no further request once its process shuts down, and finishes those under way', async () => {
    const ending = await start();
    let waiting = 0;
    ending.resume = async (abandoned) => {
      waiting++;
      await held;
      return resume(abandoned);
    };
    await abandon('a', 30);
    const run = ending.recovery.runOnce();
    await until(() => waiting === 8);
    const closed = ending.app.close();
    letGo();
    expect(await run).toBe(8);
    await closed;
    expect(await left(database)).toMatchObject({ keys: 30, completed: 8 });
  });
});

describe('a request that recovery could not finish', () => {
  it.each([
    ['the recovery interval', 60, HOUR_S],
    ['its age', 5 * HOUR_S, 5 * HOUR_S],
    ['24 recovery intervals, the longest pause', 100 * HOUR_S, 24 * HOUR_S],
  ])(
    'postpones a request that recovery could not finish, for a time between a half and the whole of %s',
    async (_, ageSeconds, shortest) => {
      await abandon('a', 50, ageSeconds);
      toy.resume = noAnswer;
      const before = await now();
      await toy.recovery.runOnce();
      const spread = ((await now()).getTime() - before.getTime()) / 1000;
      const offsets = await pausesOf('a', before);
      expect(Math.min(...offsets)).toBeGreaterThanOrEqual(shortest / 2);
      // The pause depends on the age of the request, which grew while the test ran.
      expect(Math.max(...offsets)).toBeLessThanOrEqual(shortest + 2 * spread);
      // The pauses are spread, so that the requests are not resumed all at once.
      expect(Math.max(...offsets) - Math.min(...offsets)).toBeGreaterThan(shortest / 4);
    },
  );

  it('does not resume a postponed request before its pause is over, and resumes it afterwards', async () => {
    await abandon('a', 1);
    toy.resume = noAnswer;
    expect(await toy.recovery.runOnce()).toBe(0);
    toy.resume = resume;
    expect(await toy.recovery.runOnce()).toBe(0);
    await database.sql('UPDATE processed_requests SET recover_at = clock_timestamp()');
    expect(await toy.recovery.runOnce()).toBe(1);
  });

  it('postpones a request also if the process that was resuming it has died', async () => {
    await abandon('a', 1);
    await toy.app.get(UpkeepStore).takeOver('POST /effects', TOKEN, { after: '', except: [] });
    await database.sql('UPDATE processed_requests SET locked_until = clock_timestamp()');
    expect(await toy.recovery.runOnce()).toBe(0);
  });

  it('continues a postponed request at once when its client retries', async () => {
    toy.handler = failing;
    await toy.send('key');
    toy.resume = noAnswer;
    expect(await toy.recovery.runOnce()).toBe(0);
    expect(await left(database)).toEqual(CLAIMED);
    toy.handler = twoCommits();
    expect(isReplay(await toy.send('key'))).toBe(false);
    expect(await left(database)).toEqual(TWO_COMMITS);
  });
});

describe('a claimed request without its intent', () => {
  it('forgets a claimed request without its intent, so that its key can be used for a new request', async () => {
    toy.handler = failing;
    await toy.send('key');
    await database.sql('TRUNCATE intents');
    const [requestId] = await requestIds(database, 'processed_requests');
    toy.resume = () => Promise.resolve(INTENT_MISSING);
    expect(await toy.recovery.runOnce()).toBe(1);
    expect(await left(database)).toEqual(NOTHING);
    expect(toy.events).toContainEqual({ type: 'forgotten' });
    toy.handler = oneCommit;
    expect(isReplay(await toy.send('key', { body: { name: 'another' } }))).toBe(false);
    expect(await left(database)).toEqual(ONE_COMMIT);
    expect(await requestIds(database, 'effects')).not.toEqual([requestId]);
  });

  it.each([
    ['is claimed by its client', 'lock_token = gen_random_uuid()'],
    [
      'is completed',
      `completed_at = now(), locked_until = NULL, response_status = 200, response_headers = '{}', response_body = ''`,
    ],
  ])('keeps a request without its intent if it %s while recovery resumes it', async (_, change) => {
    await abandon('a', 1);
    toy.resume = async () => {
      await database.sql(`UPDATE processed_requests SET ${change}`);
      return INTENT_MISSING;
    };
    await toy.recovery.runOnce();
    expect(await left(database)).toMatchObject({ keys: 1 });
    await database.sql(FORGET, ['a', 'key 1', TOKEN]);
    expect(await left(database)).toMatchObject({ keys: 1 });
  });
});

describe('an unfinished request of an operation that is not resumed', () => {
  const path = '/effects/shelf';

  it('reports once an unfinished request that has no resume, keeps it, and lets its client finish it', async () => {
    const fresh = await start();
    await fresh.send('key', { path });
    // As if another version of the service had claimed the key and had not finished.
    await database.sql('TRUNCATE effects');
    await database.sql(
      `UPDATE processed_requests SET locked_until = clock_timestamp(), completed_at = NULL,
              response_status = NULL, response_headers = NULL, response_body = NULL`,
    );
    for (let run = 0; run < 3; run++) expect(await fresh.recovery.runOnce()).toBe(0);
    expect(await left(database)).toEqual({ keys: 1, completed: 0, intents: 0, effects: 0 });
    const operations = [{ operation: 'POST /effects/:shelf', requests: 1 }];
    expect(fresh.events.filter(({ type }) => type === 'unresumed')).toEqual([{ type: 'unresumed', operations }]);
    expect(logged.filter((line) => line.startsWith('POST /effects/:shelf: 1 requests are unfinished'))).toHaveLength(1);
    expect(isReplay(await fresh.send('key', { path }))).toBe(false);
    expect(await left(database)).toEqual(ONE_COMMIT);
  });
});

describe('the statement TAKE_OVER', () => {
  interface Plan {
    'Relation Name'?: string;
    'Actual Rows': number;
    'Actual Loops': number;
    'Rows Removed by Filter'?: number;
    Plans?: Plan[];
  }
  const nodes = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)];

  it('reads one row for each account, however many requests of the account are postponed or excluded', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    for (const name of names) await abandon(name, 2_000);
    await database.sql(
      `UPDATE processed_requests SET recover_at = now() + interval '1 hour' WHERE account_id IN ('a', 'b', 'c', 'd')`,
    );
    await database.sql('VACUUM ANALYZE processed_requests');
    const client = `SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL enable_seqscan = off`;
    await database.sql(`BEGIN; ${client}`);
    const [explained] = await database.sql<{ 'QUERY PLAN': { Plan: Plan }[] }>(
      `EXPLAIN (ANALYZE, FORMAT JSON) ${TAKE_OVER}`,
      ['POST /effects', TOKEN, 30, '', ['e'], 1, 24],
    );
    await database.sql('COMMIT');
    const reads = nodes(explained?.['QUERY PLAN'][0]?.Plan as Plan).filter(
      (node) => node['Relation Name'] === 'processed_requests',
    );
    const rows = reads.map(
      (node) => (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'],
    );
    // One row for each of six accounts, the request that is due, and its update, which reads and writes the row.
    expect(rows.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(9);
    expect(await database.sql('SELECT account_id FROM processed_requests WHERE lock_token = $1', [TOKEN])).toEqual([
      { account_id: 'f' },
    ]);
  });
});
