// Goal: prove that large input is refused early and cheaply, and that input at each limit is accepted.
// Method: send bodies, queries and headers just above and at each limit.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { expectProblem, JSON_TYPE, send } from '../support/wire.js';

let database: TestDatabase;
let service: TestService;
/** Needs an API key. */
let guarded: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url);
  guarded = await startService(database.url, { API_KEYS: 'acct_a:sk_a' });
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await guarded?.stop();
  await database?.drop();
});

const post = (body: string, path = '/charges', headers: string[] = []) =>
  send(service.url, { path, headers: [...JSON_TYPE, 'Idempotency-Key', 'order_1', ...headers], body });
const withMember = (name: string, value: unknown) => JSON.stringify({ ...CHARGE, [name]: value });
const times = <Item>(count: number, item: (i: number) => Item) => Array.from({ length: count }, (_, i) => item(i));
const members = (count: number) => Object.fromEntries(times(count, (i) => [`m${i}`, 1]));
const errorsOf = (problem: Record<string, unknown>) => problem['errors'] as { field: string; message: string }[];

describe('the size of a body', () => {
  const LINE = { item_id: 'beans', quantity: 1, unit_amount: 1 };

  it.each<[what: string, path: string, body: string, field: string, message: string]>([
    [
      'a body of 87,000 elements',
      '/orders',
      `{"items":[${'[],'.repeat(87_000)}[]]}`,
      'body',
      'expected at most 512 values',
    ],
    ['a body of 20,000 members', '/charges', JSON.stringify(members(20_000)), 'body', 'expected at most 512 values'],
    [
      'a body of 513 values',
      '/orders',
      JSON.stringify({ items: times(511, () => 1) }),
      'body',
      'expected at most 512 values',
    ],
    [
      'a body of 17 levels',
      '/charges',
      `${'['.repeat(17)}${']'.repeat(17)}`,
      'body',
      'expected at most 16 levels of nesting',
    ],
    [
      'a text of 1,025 characters',
      '/charges',
      withMember('description', 'd'.repeat(1_025)),
      'description',
      'expected a shorter text',
    ],
    [
      'a text of 1,025 characters in a list',
      '/orders',
      JSON.stringify({ items: [{ ...LINE, item_id: 'i'.repeat(1_025) }] }),
      'items.0.item_id',
      'expected a shorter text',
    ],
    [
      'a name of 129 characters',
      '/charges',
      withMember('metadata', { ['n'.repeat(129)]: 'text' }),
      'metadata',
      'expected shorter member names',
    ],
    [
      'texts of more than 65,536 characters in all',
      '/charges',
      JSON.stringify({ m: times(64, () => 't'.repeat(1_024)) }),
      'body',
      'expected shorter texts',
    ],
  ])('refuses %s before validation, with one error that names the place', async (_, path, body, field, message) => {
    const problem = expectProblem(await post(body, path), 400, 'validation_failed');
    expect(errorsOf(problem)).toEqual([{ field, message }]);
    expect(await effects(database)).toEqual(NOTHING);
  });

  it.each<[what: string, path: string, body: string, fields: string[]]>([
    ['a body of 512 values', '/orders', JSON.stringify({ order_id: 'o', items: times(509, () => 1) }), ['items']],
    ['a text of 1,024 characters', '/charges', withMember('description', 'd'.repeat(1_024)), ['description']],
    ['a name of 128 characters', '/charges', withMember('metadata', { ['n'.repeat(128)]: 'text' }), ['metadata']],
    [
      'a text of brackets and commas, which are not values',
      '/charges',
      withMember('metadata', { '[': '[{,}"\\]'.repeat(70), b: 1 }),
      ['metadata'],
    ],
  ])('leaves a body at the limits to validation: %s', async (_, path, body, fields) => {
    const problem = expectProblem(await post(body, path), 400, 'validation_failed');
    expect(errorsOf(problem).map(({ field }) => field)).toEqual(fields);
    expect(problem['detail']).not.toMatch(/shorter|less text|512/);
  });

  it('accepts an order of 100 lines with the longest ids, and a charge with the most metadata', async () => {
    await database.sql(
      "INSERT INTO inventory SELECT 'acct_demo', lpad(n::text, 255, 'i'), 1 FROM generate_series(0, 99) n",
    );
    const items = times(100, (i) => ({ ...LINE, item_id: String(i).padStart(255, 'i') }));
    const order = await post(JSON.stringify({ order_id: 'o'.repeat(255), items, currency: 'eur' }), '/orders');
    expect(order.status).toBe(200);
    const metadata = Object.fromEntries(
      times(50, (i) => [`${i}`.padStart(2, '0') + '😀'.repeat(38), '😀'.repeat(500)]),
    );
    const body = { ...CHARGE, order_id: '😀'.repeat(255), description: '😀'.repeat(500), metadata };
    const charge = await send(service.url, {
      headers: [...JSON_TYPE, 'Idempotency-Key', 'order_2'],
      body: JSON.stringify(body),
    });
    expect([charge.status, JSON.parse(charge.text)]).toEqual([200, expect.objectContaining(body)]);
  });
});

describe('the errors of a body', () => {
  it('lists the first 20 errors of a body and counts the others', async () => {
    const answer = await post(JSON.stringify({ ...CHARGE, ...members(400) }));
    const problem = expectProblem(answer, 400, 'validation_failed');
    expect(errorsOf(problem)).toEqual(times(20, (i) => ({ field: `m${i}`, message: 'unknown member' })));
    expect(problem['detail']).toMatch(/m19: unknown member; and 380 more$/);
    expect(answer.text.length).toBeLessThan(4_000);
  });

  it('lists all errors of a body if there are 20', async () => {
    const problem = expectProblem(await post(JSON.stringify({ ...CHARGE, ...members(20) })), 400, 'validation_failed');
    expect(errorsOf(problem)).toHaveLength(20);
    expect(problem['detail']).not.toMatch(/more/);
  });
});

describe('the query', () => {
  it.each([
    [
      'more parameters than any route reads',
      times(17, (i) => `p${i}=1`).join('&'),
      'query',
      'expected at most 16 parameters',
    ],
    ['one parameter 17 times', 'limit=1&'.repeat(17), 'query', 'expected at most 16 parameters'],
    ['a text that is too long', `limit=${'1.'.repeat(513)}`, 'limit', 'expected a shorter text'],
    ['a name that is too long', 'n'.repeat(129), 'query', 'expected shorter member names'],
  ])('refuses a query with %s before validation', async (_, query, field, message) => {
    const problem = expectProblem(await service.http.get(`/charges?${query}`), 400, 'validation_failed');
    expect(errorsOf(problem)).toEqual([{ field, message }]);
  });

  it.each(['/', '/health/live', '/health/ready', '/metrics', '/docs/errors', '/openapi.json'])(
    'ignores the query on the public route %s',
    async (path) => {
      expect((await service.http.get(`${path}?card=4242424242424242&a=${'1.'.repeat(5_000)}`)).status).toBe(200);
    },
  );
});

describe('a request without the API key that it needs', () => {
  it.each([
    ['not JSON', '{'],
    ['too deep', '['.repeat(100_000)],
    ['card data', '{"description":"4242424242424242"}'],
  ])('answers 401 to a request without an API key before it parses a body that is %s', async (_, body) => {
    const answer = await send(guarded.url, { headers: [...JSON_TYPE, 'Idempotency-Key', 'order_1'], body });
    expectProblem(answer, 401, 'unauthorized');
  });
});

describe('the headers of a request', () => {
  const others = (count: number) => times(count, (i) => [`X-${i}`, 'x']).flat();
  const ORDER = JSON.stringify({ order_id: 'order_1', items: [{ item_id: 'beans', quantity: 1, unit_amount: 1 }] });

  it.each([
    ['no key', []],
    ['a key', ['Idempotency-Key', 'one']],
    ['two keys', ['Idempotency-Key', 'one', 'Idempotency-Key', 'two']],
  ])(
    'refuses a request with more headers than Node keeps, because Node may drop its Idempotency-Key; the request has %s',
    async (_, keys) => {
      await database.sql("INSERT INTO inventory VALUES ('acct_demo', 'beans', 10)");
      const headers = [...JSON_TYPE, ...others(1_100), ...keys];
      const problem = expectProblem(
        await send(service.url, { path: '/orders', headers, body: ORDER }),
        400,
        'malformed_request',
      );
      expect(problem).toMatchObject({ outcome: 'not_started', detail: 'Expected at most 200 headers.' });
      expect(await database.sql('SELECT stock FROM inventory')).toEqual([{ stock: 10 }]);
    },
  );

  it('accepts a request with 200 headers', async () => {
    const body = JSON.stringify(CHARGE);
    // 195 of 200, because the request has Host, Content-Length, Connection, Content-Type and Idempotency-Key as well.
    const answer = await send(service.url, {
      headers: [...others(195), ...JSON_TYPE, 'Idempotency-Key', 'order_1'],
      body,
    });
    expect(answer.status).toBe(200);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });
});

describe('the length of a text', () => {
  it.each([
    ['order_id', '😀', 255],
    ['order_id', '❤️', 127],
    ['description', '😀', 500],
    ['description', '❤️', 250],
  ])(
    'counts the length of a text in Unicode code points, as PostgreSQL and OpenAPI do: %s of %s',
    async (member, text, most) => {
      const longest = text.repeat(most);
      const answer = await post(withMember(member, longest));
      expect([answer.status, (JSON.parse(answer.text) as Record<string, unknown>)[member]]).toEqual([200, longest]);
      const [length] = await database.sql(`SELECT length(${member}) FROM charges`);
      expect(length).toEqual({ length: [...longest].length });

      const longer = await send(service.url, {
        headers: [...JSON_TYPE, 'Idempotency-Key', 'longer'],
        body: withMember(member, longest + text),
      });
      expect(errorsOf(expectProblem(longer, 400, 'validation_failed'))).toMatchObject([{ field: member }]);
    },
  );

  it('counts the length of metadata and of customer names in Unicode code points', async () => {
    const tooLong = [{ ['😀'.repeat(41)]: 'text' }, { name: '😀'.repeat(501) }];
    for (const metadata of tooLong) {
      const problem = expectProblem(await post(withMember('metadata', metadata)), 400, 'validation_failed');
      expect(errorsOf(problem)).toMatchObject([{ field: 'metadata' }]);
    }
    const put = (name: string) =>
      service.http.put('/customers/ada').send({ name, email: 'ada@example.com', status: 'active' });
    expect((await put('😀'.repeat(255))).status).toBe(201);
    expectProblem(await put('❤️'.repeat(128)), 400, 'validation_failed');
  });
});
