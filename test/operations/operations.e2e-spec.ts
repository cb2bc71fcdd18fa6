// Goal: prove health, metrics, request ids and logs as an operator uses them, and that no secret appears in them.
// Method: read the pages before and after requests, and parse the log of the built service.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { migrations } from '../../migrations/index.js';
import { Relay } from '../../src/messaging/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, type ServiceProcess, spawnService } from '../support/process.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { expectProblem } from '../support/wire.js';
import { until } from '../support/waiting.js';

let database: TestDatabase;
/** Has an API key, as every service must have that is reachable from other machines. */
let service: TestService;

const AUTHORIZED = { authorization: 'Bearer sk_secret_a' };

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, { API_KEYS: 'acct_a:sk_secret_a' });
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const charge = (key: string, body: object = CHARGE) => service.charge(key, body, AUTHORIZED);

describe('/health', () => {
  it('answers that the service is live and ready, without an API key', async () => {
    for (const path of ['/health/live', '/health/ready']) {
      await service.http.get(path).expect(200, { status: 'ok' });
    }
  });

  /** Asks until readiness has this status, because an answer is kept for a second. */
  async function readyOnce(status: number) {
    let answer = await service.http.get('/health/ready');
    await until(async () => (answer = await service.http.get('/health/ready')).status === status);
    return answer;
  }

  it('answers live but not ready while a migration is missing, and names the migration', async () => {
    const { name } = migrations[1] as { name: string };
    const [row] = await database.sql('DELETE FROM migrations WHERE name = $1 RETURNING *', [name]);
    await service.http.get('/health/live').expect(200);
    const unready = await readyOnce(503);
    await database.sql('INSERT INTO migrations VALUES ($1, $2, $3)', Object.values(row ?? {}));

    const problem = expectProblem(unready, 503, 'database_unavailable');
    expect(problem).toMatchObject({ retryable: true, outcome: 'not_started' });
    expect(problem['detail']).toContain(name);
    await readyOnce(200);
  });

  it('answers live but not ready while there is no schema', async () => {
    await database.sql('ALTER TABLE migrations RENAME TO gone');
    await service.http.get('/health/live').expect(200);
    const unready = await readyOnce(503);
    await database.sql('ALTER TABLE gone RENAME TO migrations');
    expectProblem(unready, 503, 'database_unavailable');
    await readyOnce(200);
  });
});

describe('/metrics', () => {
  let page = '';

  /** The value of each series by its name and labels, on a newer page than the last, because a page is kept for a second. */
  async function read(): Promise<Map<string, number>> {
    let text = page;
    await until(async () => {
      ({ text } = await service.http
        .get('/metrics')
        .expect(200)
        .expect('content-type', /^text\/plain/));
      return text !== page;
    });
    page = text;
    const lines = text.split('\n').filter((line) => line && !line.startsWith('#'));
    return new Map(
      lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
    );
  }

  it('counts how requests with a key were answered', async () => {
    const outcomes = ['first', 'replayed', 'waited', 'in_progress', 'reused', 'failed'];
    const nameOf = (outcome: string) => `idempotency_requests_total{outcome="${outcome}"}`;
    const before = await read();

    await charge('counted_1');
    for (let i = 0; i < 3; i++) await charge('counted_1');
    for (let i = 0; i < 2; i++) await charge('counted_1', { ...CHARGE, amount: 1 });
    await charge('counted_2', { ...CHARGE, source: 'tok_chargeDeclined' });
    await charge('counted_3', { ...CHARGE, source: 'tok_unavailable' });

    const after = await read();
    const increments = outcomes.map((outcome) => [
      outcome,
      (after.get(nameOf(outcome)) ?? NaN) - (before.get(nameOf(outcome)) ?? NaN),
    ]);
    expect(Object.fromEntries(increments)).toEqual({
      first: 2,
      replayed: 3,
      waited: 0,
      in_progress: 0,
      reused: 2,
      failed: 1,
    });
  });

  it('shows the age of the oldest unfinished request and message, the pool, and the duration of routes', async () => {
    await charge('unfinished', { ...CHARGE, source: 'tok_unavailable' });
    await database.sql(
      "UPDATE processed_requests SET created_at = now() - interval '90 seconds' WHERE completed_at IS NULL",
    );
    /** Expects a value between the ages of the oldest row before and after the metrics were read, by the clock of the database. */
    const readWithin = async (name: string, rows: string) => {
      const ageOf = async () => {
        const age = `SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS seconds FROM ${rows}`;
        return (await database.sql<{ seconds: number }>(age))[0]?.seconds ?? NaN;
      };
      const before = await ageOf();
      const metrics = await read();
      const after = await ageOf();
      const value = metrics.get(name) ?? NaN;
      expect({ value, isBetween: before <= value && value <= after }).toEqual({ value, isBetween: true });
      return metrics;
    };
    const metrics = await readWithin(
      'idempotency_oldest_unfinished_seconds',
      'processed_requests WHERE completed_at IS NULL',
    );
    await database.sql(
      `INSERT INTO outbox VALUES ('acct_a', 'x.1', 'x', '{}', now() - interval '70 seconds', now() + interval '1 hour', 0, NULL)`,
    );
    await database.sql(
      "INSERT INTO failed_messages VALUES ('acct_a', 'a consumer', 'x.1', 'x', '{}', now(), 5, 'no', now(), now())",
    );
    const later = await readWithin('messages_oldest_unpublished_seconds', 'outbox WHERE published_at IS NULL');
    expect(later.get('messages_dead_letters')).toBe(1);
    for (const state of ['used', 'idle', 'waiting'])
      expect(metrics.has(`database_pool_connections{state="${state}"}`)).toBe(true);
    const route = 'http_request_duration_seconds_count{method="POST",route="/charges",status="503"}';
    expect(metrics.get(route)).toBeGreaterThanOrEqual(1);
    expect(metrics.has('idempotency_swept_total') && metrics.has('idempotency_recovered_total')).toBe(true);
  });

  it('counts published messages, and the result of their delivery for each consumer', async () => {
    const consumers = ['balance', 'orders', 'notifications'].flatMap((consumer) =>
      ['processed', 'failed', 'dead'].map((delivery) => ({ consumer, delivery })),
    );
    const names = [
      'messages_published_total',
      ...consumers.map((each) => `messages_delivered_total{consumer="${each.consumer}",delivery="${each.delivery}"}`),
    ];
    await service.nest.get(Relay).runOnce();
    const before = await read();
    await charge('published');
    await database.sql(
      "INSERT INTO outbox VALUES ('acct_a', 'charge.succeeded.bad', 'charge.succeeded', '{\"order_id\": null}', now(), now())",
    );
    await service.nest.get(Relay).runOnce();
    const after = await read();
    expect(names.map((name) => (after.get(name) ?? NaN) - (before.get(name) ?? NaN))).toEqual([
      1, 1, 1, 0, 2, 0, 0, 2, 0, 0,
    ]);
  });

  it('labels metrics with routes, never with keys or ids', async () => {
    await service.http.get('/idempotency-keys/private_key_1').set(AUTHORIZED);
    await service.http.get('/private_path_1');
    const names = [...(await read()).keys()].join('\n');
    expect(names).toContain('route="/idempotency-keys/:key"');
    expect(names).not.toContain('private_');
  });
});

describe('X-Request-Id', () => {
  const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
  const ask = (id?: string) => service.http.get('/charges').set(id === undefined ? {} : { 'x-request-id': id });

  it.each(['req_1', '1d3d8c5c-0549-49fd-9a5d-b8bcee74ce05', 'x'.repeat(64)])(
    'returns the X-Request-Id of the client: %s',
    async (id) => {
      expect((await ask(id)).headers['x-request-id']).toBe(id);
    },
  );

  it.each(['x'.repeat(65), 'two words', '{"forged":true}', 'a,b', ''])(
    'replaces an X-Request-Id that could forge a log line: %s',
    async (id) => {
      expect((await ask(id)).headers['x-request-id']).toMatch(UUID);
    },
  );

  it.each(['4242424242424242', '4242-4242-4242-4242', 'req_4242.4242.4242.4242'])(
    'replaces an X-Request-Id that looks like card data, because it is logged: %s',
    async (id) => {
      expect((await ask(id)).headers['x-request-id']).toMatch(UUID);
    },
  );

  it('makes an X-Request-Id for each request without one, also for errors', async () => {
    const ids = [await ask(), await ask(), await service.http.get('/nowhere')].map(
      ({ headers }) => headers['x-request-id'] as unknown,
    );
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(UUID);
  });
});

describe('the log of the built service', () => {
  const SECRET = 'sk_secret_of_a_real_account';
  let served: ServiceProcess;
  const lines = () =>
    served.output.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
  const answered = () => lines().filter(({ msg }) => msg === 'answered');

  beforeAll(async () => {
    served = await spawnService(database.url, { API_KEYS: `acct_logged:${SECRET}` });
    const headers = {
      authorization: `Bearer ${SECRET}`,
      'content-type': 'application/json',
      'idempotency-key': 'key_in_header',
    };
    const post = (id: string, body: object, more = {}) =>
      fetch(`${served.url}/charges`, {
        method: 'POST',
        headers: { ...headers, ...more, 'x-request-id': id },
        body: JSON.stringify({ ...CHARGE, ...body }),
      });
    await post('req_first', { description: 'a present for Ada', metadata: { note: 'private matter' } });
    await post('req_replay', { description: 'a present for Ada', metadata: { note: 'private matter' } });
    await post('req_card', { description: 'card 4242424242424242' });
    await post('req_denied', {}, { authorization: 'Bearer sk_guess' });
    await fetch(`${served.url}/idempotency-keys/key_in_path`, { headers });
    // PostgreSQL's error text repeats the whole row that it refuses.
    await database.sql("ALTER TABLE charges ADD CONSTRAINT refused CHECK (description <> 'a failed present')");
    await post(
      'req_failed',
      { description: 'a failed present', metadata: { note: 'another matter' } },
      { 'idempotency-key': 'key_failed' },
    );
    await database.sql('ALTER TABLE charges DROP CONSTRAINT refused');
    await until(() => answered().length === 6);
  });
  afterAll(killAll);

  it('writes one JSON object per line, and texts for people as other lines that name no request', () => {
    const others = served.output.filter((line) => !line.startsWith('{')).join('\n');
    expect(others).toMatch(/Payments are served at/);
    expect(others).not.toMatch(/req_|answered/);
    for (const line of lines())
      expect(line).toMatchObject({ level: expect.any(String), time: expect.any(String), msg: expect.any(String) });
  });

  it('logs one line for each answer, with request id, account and status', () => {
    const line = { method: 'POST', route: '/charges', accountId: 'acct_logged' };
    expect(answered()).toMatchObject([
      { ...line, reqId: 'req_first', status: 200 },
      { ...line, reqId: 'req_replay', status: 200, replayed: true },
      { ...line, reqId: 'req_card', status: 400 },
      { method: 'POST', route: '/charges', reqId: 'req_denied', status: 401 },
      { method: 'GET', route: '/idempotency-keys/:key', accountId: 'acct_logged', status: 404 },
      { ...line, reqId: 'req_failed', status: 500 },
    ]);
    expect(answered()[0]).not.toHaveProperty('replayed');
    expect(answered()[3]).not.toHaveProperty('accountId');
  });

  it('logs the stack of an error that the client does not see', () => {
    const error = lines().find(({ level }) => level === 'error');
    expect(error).toMatchObject({
      reqId: 'req_failed',
      code: 'internal_error',
      err: { stack: expect.stringMatching(/\n +at /) },
    });
  });

  it.each([
    ['the secret of an account or a guessed secret', /sk_secret|sk_guess/],
    ['a card number', /4242/],
    ['the content of bodies', /present|matter/],
    ['idempotency keys', /key_in_header|key_in_path|key_failed/],
  ])('never logs %s', (_, secret) => {
    expect(served.output.join('\n')).not.toMatch(secret);
  });
});
