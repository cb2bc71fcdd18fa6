// Goal: prove what the service answers at its edge: bad bodies, unknown routes, broken HTTP, missing secrets, unexpected errors.
// Method: send raw bytes, check each problem and the page its `type` links to, and count what was stored.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { BODY_LIMIT_BYTES } from '../../src/http/json-body.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, replyOf, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { type Answer, expectProblem, JSON_TYPE, send, sendBytes } from '../support/wire.js';

let database: TestDatabase;
/** Has no API keys, so every request belongs to acct_demo. */
let service: TestService;
/** Has API keys for two accounts, on the same database. */
let guarded: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url);
  guarded = await startService(database.url, { API_KEYS: 'acct_a:sk_secret_a,acct_b:sk_secret_b' });
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await guarded?.stop();
  await database?.drop();
});

const KEY = ['Idempotency-Key', 'order_1'];
const GOOD = JSON.stringify(CHARGE);

/** POST /charges with one key and exactly the bytes of `body`. */
const post = (body: string | Buffer, type = JSON_TYPE) => send(service.url, { headers: [...type, ...KEY], body });

const isFirst = ({ headers }: Answer) => headers['idempotent-replayed'] === undefined;
const idOf = ({ text }: Answer) => (JSON.parse(text) as { id: string }).id;

/** Expects a problem whose `type` links to a section of the documentation. */
async function expectExplained(answer: Answer, status: number, code: Parameters<typeof expectProblem>[2]) {
  const problem = expectProblem(answer, status, code);
  const [path = '', fragment = ''] = String(problem['type']).split('#');
  const page = await service.http
    .get(path)
    .expect(200)
    .expect('content-type', /^text\/html/);
  expect(page.text).toContain(`id="${fragment}"`);
  return problem;
}

describe('a refused body', () => {
  const nested = (levels: number) => `${GOOD.slice(0, -1)},"metadata":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  const described = (text: string) => `${GOOD.slice(0, -1)},"description":"${text}"}`;
  const json = (body: string | Buffer) => [JSON_TYPE, body] as const;
  const typed = (type: string) => [['Content-Type', type], GOOD] as const;

  it.each([
    ['not valid', ...json('{"amount":0,"currency":"eur"}'), 400, 'validation_failed'],
    ['empty', ...json(''), 400, 'validation_failed'],
    ['missing, together with its type', [], '', 400, 'validation_failed'],
    ['null', ...json('null'), 400, 'validation_failed'],
    ['an array', ...json(`[${GOOD}]`), 400, 'validation_failed'],
    ['a number', ...json('1999'), 400, 'validation_failed'],
    ['a text', ...json('"1999"'), 400, 'validation_failed'],
    ['nested 17 levels deep', ...json(nested(17)), 400, 'validation_failed'],
    ['nested as deeply as the limit allows', ...json(nested(BODY_LIMIT_BYTES / 2 - 100)), 400, 'validation_failed'],
    ['text with U+0000', ...json(described('a\\u0000b')), 400, 'validation_failed'],
    ['text with half a surrogate pair', ...json(described('a\\ud83dz')), 400, 'validation_failed'],
    ['cut off', ...json(GOOD.slice(0, -1)), 400, 'malformed_json'],
    ['two values', ...json(GOOD + GOOD), 400, 'malformed_json'],
    ['JavaScript', ...json("{amount: 1999, currency: 'eur'}"), 400, 'malformed_json'],
    ['text with a bare line break', ...json(described('a\nb')), 400, 'malformed_json'],
    ['not UTF-8', ...json(Buffer.from(described('caf\u00e9'), 'latin1')), 400, 'malformed_json'],
    // The three bytes of the surrogate U+D83D, which UTF-8 does not allow.
    [
      'UTF-8 of half a surrogate pair',
      ...json(Buffer.from(described('\u00ed\u00a0\u00bd'), 'latin1')),
      400,
      'malformed_json',
    ],
    [
      'JSON with the member __proto__',
      ...json(`${GOOD.slice(0, -1)},"__proto__":{"amount":1}}`),
      400,
      'validation_failed',
    ],
    ['larger than the limit', ...json(described('x'.repeat(BODY_LIMIT_BYTES))), 413, 'body_too_large'],
    ['plain text', ...typed('text/plain'), 415, 'unsupported_media_type'],
    ['a form', ...typed('application/x-www-form-urlencoded'), 415, 'unsupported_media_type'],
    ['almost JSON', ...typed('application/jsonp'), 415, 'unsupported_media_type'],
    ['sent without a type', [], GOOD, 415, 'unsupported_media_type'],
    ['one with card data', ...json(described('4242424242424242')), 400, 'card_data_refused'],
  ] as const)(
    'refuses a body that is %s without using its key, so that the corrected body may use the key',
    async (_, type, body, status, code) => {
      const problem = await expectExplained(await post(body, [...type]), status, code);
      expect(problem).toMatchObject({ outcome: 'not_started', retryable: false });
      expect(await effects(database)).toEqual(NOTHING);

      const corrected = await post(GOOD);
      expect([corrected.status, isFirst(corrected)]).toEqual([200, true]);
      expect(await effects(database)).toEqual(ONE_CHARGE);
    },
  );
});

describe('a request without a resource', () => {
  it.each([
    ['an unknown route', 'GET', '/charge', 404, 'route_not_found'],
    ['an unknown route with a key that is not valid', 'POST', '/charge', 404, 'route_not_found'],
    ['an unknown charge', 'GET', '/charges/ch_00000000000000000000000000000000', 404, 'not_found'],
    ['a broken percent-encoding', 'GET', '/charges/%zz', 400, 'malformed_request'],
    ['a percent-encoding that is not a character', 'GET', '/idempotency-keys/%ff', 400, 'malformed_request'],
    ['half a percent-encoding', 'GET', '/charges/%', 400, 'malformed_request'],
    ['U+0000 in the path', 'GET', '/charges/%00', 400, 'validation_failed'],
    ['a path that is too long', 'GET', `/charges/${'x'.repeat(766)}`, 414, 'url_too_long'],
    ['a request line that is too long', 'GET', `/charges?${'x'.repeat(20_000)}`, 400, 'malformed_request'],
  ] as const)('answers with a problem that explains %s', async (_, method, path, status, code) => {
    await expectExplained(await send(service.url, { method, path, headers: ['Idempotency-Key', 'a b'] }), status, code);
    expect(await effects(database)).toEqual(NOTHING);
  });

  it.each([
    ['PUT', '/charges', ['GET', 'HEAD', 'POST']],
    ['PATCH', '/charges', ['GET', 'HEAD', 'POST']],
    ['TRACE', '/charges', ['GET', 'HEAD', 'POST']],
    ['DELETE', '/charges/ch_1', ['GET', 'HEAD']],
    ['POST', '/charges/ch_1', ['GET', 'HEAD']],
    ['DELETE', '/idempotency-keys/order_1', ['GET', 'HEAD']],
    ['POST', '/health/live', ['GET', 'HEAD']],
    ['POST', '/metrics', ['GET', 'HEAD']],
    ['POST', '/docs', ['GET', 'HEAD']],
    ['POST', '/', ['GET', 'HEAD']],
  ])('answers 405 with the methods that the route allows to %s %s', async (method, path, allowed) => {
    // The method is checked before the body and the API key, which would both be refused.
    const answer = await send(guarded.url, {
      method,
      path,
      headers: ['Content-Type', 'text/plain', ...KEY],
      body: GOOD,
    });
    await expectExplained(answer, 405, 'method_not_allowed');
    expect(String(answer.headers.allow).split(', ').sort()).toEqual(allowed);
    expect(await effects(database)).toEqual(NOTHING);
  });

  it.each([
    ['bytes that are not HTTP', 'PAY ME\r\n\r\n'],
    ['a method that does not exist', 'CHARGE /charges HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['a control character in the key', 'POST /charges HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: a\x01b\r\n\r\n'],
    ['two lengths', `POST /charges HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
  ])('answers 400 malformed_request to %s', async (_, bytes) => {
    await expectExplained(await sendBytes(service.url, bytes), 400, 'malformed_request');
  });
});

describe('an unexpected error', () => {
  beforeEach(() => database.sql('ALTER TABLE charges RENAME COLUMN id TO lost'));
  const repair = () => database.sql('ALTER TABLE charges RENAME COLUMN lost TO id');

  it('answers 500 without details to a read that fails unexpectedly', async () => {
    const answers = [await service.http.get('/charges'), await service.http.get('/charges/ch_1')];
    await repair();
    for (const answer of answers) {
      expect(await expectExplained(answer, 500, 'internal_error')).toMatchObject({ outcome: 'not_started' });
      expect(answer.text).not.toMatch(/lost|column|charges/);
    }
  });

  it('answers 500 with outcome unknown to a charge that fails unexpectedly, and records nothing', async () => {
    const failed = await service.charge('order_1');
    await repair();
    expect(await expectExplained(failed, 500, 'internal_error')).toMatchObject({ outcome: 'unknown', retryable: true });
    expect(failed.text).not.toMatch(/lost|column|charges/);
    expect(await effects(database)).toEqual(NOTHING);

    const retried = await service.charge('order_1');
    expect([retried.status, isFirst(retried)]).toEqual([200, true]);
  });
});

describe('the accounts of a service', () => {
  const as = (account: 'a' | 'b') => ({ authorization: `Bearer sk_secret_${account}` });

  it.each([
    ['a request without Authorization', {}],
    ['an unknown secret', { authorization: 'Bearer sk_secret_c' }],
    ['a part of a secret', { authorization: 'Bearer sk_secret_' }],
    ['the name of an account instead of its secret', { authorization: 'Bearer acct_a' }],
    ['another scheme', { authorization: 'Basic sk_secret_a' }],
    ['a secret without a scheme', { authorization: 'sk_secret_a' }],
    ['a scheme without a secret', { authorization: 'Bearer' }],
    ['two secrets', { authorization: 'Bearer sk_secret_a sk_secret_b' }],
  ])('answers 401 to %s, even if there is a reply to replay', async (_, headers) => {
    const id = idOf(await guarded.charge('order_1', CHARGE, as('a')));
    const refused = [
      await guarded.charge('order_1', CHARGE, headers),
      await guarded.charge('order_2', CHARGE, headers),
    ];
    for (const path of ['/charges', `/charges/${id}`, '/idempotency-keys/order_1']) {
      refused.push(await guarded.http.get(path).set(headers));
    }
    for (const response of refused) {
      expectProblem(response, 401, 'unauthorized');
      expect(response.headers['www-authenticate']).toBe('Bearer');
      expect(response.text).not.toMatch(/sk_secret|acct_/);
    }
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('accepts the scheme of Authorization in any letter case', async () => {
    expect((await guarded.charge('order_1', CHARGE, { authorization: 'bearer sk_secret_a' })).status).toBe(200);
  });

  it('charges two accounts that send the same key and body, and replays to each its own reply', async () => {
    const [a, b] = [await guarded.charge('k', CHARGE, as('a')), await guarded.charge('k', CHARGE, as('b'))];
    expect([a, b].every(isFirst)).toBe(true);
    expect(a.text).not.toBe(b.text);
    expect(replyOf(await guarded.charge('k', CHARGE, as('a')))).toEqual(replyOf(a));
    expect(replyOf(await guarded.charge('k', CHARGE, as('b')))).toEqual(replyOf(b));
    expect((await effects(database)).captures).toBe(2);
  });

  it('hides the charges and keys of one account from another account, which may use the same key', async () => {
    const id = idOf(await guarded.charge('order_1', CHARGE, as('a')));
    const read = (path: string) => guarded.http.get(path).set(as('b'));
    expectProblem(await read(`/charges/${id}`), 404, 'not_found');
    expectProblem(await read('/idempotency-keys/order_1'), 404, 'not_found');
    expect((await read('/charges')).body).toEqual({ object: 'list', data: [], has_more: false });
    expect((await guarded.charge('order_1', { amount: 1, currency: 'usd' }, as('b'))).status).toBe(200);
  });
});
