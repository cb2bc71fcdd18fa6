import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { BODY_LIMIT_BYTES } from '../../src/http/json-body.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, replyOf, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { type Answer, expectProblem, JSON_TYPE, send, sendBytes } from '../support/wire.js';

let database: TestDatabase;
/** Nobody needs an API key: everybody is acct_demo. */
let service: TestService;
/** Two accounts, on the same database. */
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

/** POST /charges with one key and the very bytes of `body`. */
const post = (body: string | Buffer, type = JSON_TYPE) => send(service.url, { headers: [...type, ...KEY], body });

const isFirst = ({ headers }: Answer) => headers['idempotent-replayed'] === undefined;
const idOf = ({ text }: Answer) => (JSON.parse(text) as { id: string }).id;

/** The answer is a problem whose `type` leads to what is said about it. */
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

describe('a body that is refused', () => {
  const nested = (levels: number) => `${GOOD.slice(0, -1)},"metadata":${'['.repeat(levels)}${']'.repeat(levels)}}`;
  const described = (text: string) => `${GOOD.slice(0, -1)},"description":"${text}"}`;
  const json = (body: string | Buffer) => [JSON_TYPE, body] as const;
  const typed = (type: string) => [['Content-Type', type], GOOD] as const;

  it.each([
    ['not valid', ...json('{"amount":0,"currency":"eur"}'), 400, 'validation_failed'],
    ['empty', ...json(''), 400, 'validation_failed'],
    ['missing, type and all', [], '', 400, 'validation_failed'],
    ['null', ...json('null'), 400, 'validation_failed'],
    ['an array', ...json(`[${GOOD}]`), 400, 'validation_failed'],
    ['a number', ...json('1999'), 400, 'validation_failed'],
    ['a text', ...json('"1999"'), 400, 'validation_failed'],
    ['nested 17 levels deep', ...json(nested(17)), 400, 'validation_failed'],
    ['nested as deeply as the limit allows', ...json(nested(BODY_LIMIT_BYTES / 2 - 100)), 400, 'validation_failed'],
    ['text with U+0000', ...json(described('a\\u0000b')), 400, 'validation_failed'],
    ['text with half a character', ...json(described('a\\ud83dz')), 400, 'validation_failed'],
    ['cut off', ...json(GOOD.slice(0, -1)), 400, 'malformed_json'],
    ['two values', ...json(GOOD + GOOD), 400, 'malformed_json'],
    ['JavaScript', ...json("{amount: 1999, currency: 'eur'}"), 400, 'malformed_json'],
    ['text with a bare line break', ...json(described('a\nb')), 400, 'malformed_json'],
    ['not UTF-8', ...json(Buffer.from(described('caf\u00e9'), 'latin1')), 400, 'malformed_json'],
    // The three bytes of U+D83D, which UTF-8 does not have.
    [
      'UTF-8 of half a character',
      ...json(Buffer.from(described('\u00ed\u00a0\u00bd'), 'latin1')),
      400,
      'malformed_json',
    ],
    ['reaching for the prototype', ...json(`${GOOD.slice(0, -1)},"__proto__":{"amount":1}}`), 400, 'validation_failed'],
    ['larger than the limit', ...json(described('x'.repeat(BODY_LIMIT_BYTES))), 413, 'body_too_large'],
    ['plain text', ...typed('text/plain'), 415, 'unsupported_media_type'],
    ['a form', ...typed('application/x-www-form-urlencoded'), 415, 'unsupported_media_type'],
    ['almost JSON', ...typed('application/jsonp'), 415, 'unsupported_media_type'],
    ['of no type', [], GOOD, 415, 'unsupported_media_type'],
    ['of card data', ...json(described('4242424242424242')), 400, 'card_data_refused'],
  ] as const)('because it is %s burns no key: the corrected one may use it', async (_, type, body, status, code) => {
    const problem = await expectExplained(await post(body, [...type]), status, code);
    expect(problem).toMatchObject({ outcome: 'not_started', retryable: false });
    expect(await effects(database)).toEqual(NOTHING);

    const corrected = await post(GOOD);
    expect([corrected.status, isFirst(corrected)]).toEqual([200, true]);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });
});

describe('a request that goes nowhere', () => {
  it.each([
    ['an unknown route', 'GET', '/charge', 404, 'route_not_found'],
    ['an unknown route, with a key that is none', 'POST', '/charge', 404, 'route_not_found'],
    ['an unknown charge', 'GET', '/charges/ch_00000000000000000000000000000000', 404, 'not_found'],
    ['a broken percent-encoding', 'GET', '/charges/%zz', 400, 'malformed_request'],
    ['a percent-encoding of no character', 'GET', '/idempotency-keys/%ff', 400, 'malformed_request'],
    ['half a percent-encoding', 'GET', '/charges/%', 400, 'malformed_request'],
    ['U+0000 in the path', 'GET', '/charges/%00', 400, 'validation_failed'],
    ['a path that is no id', 'GET', `/charges/${'x'.repeat(766)}`, 414, 'url_too_long'],
    ['headers without end', 'GET', `/charges?${'x'.repeat(20_000)}`, 400, 'malformed_request'],
  ] as const)('is told so: %s', async (_, method, path, status, code) => {
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
  ])('is told what the route allows: %s %s', async (method, path, allowed) => {
    // Before the body and the API key are looked at: both would be refused.
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
    ['no HTTP at all', 'PAY ME\r\n\r\n'],
    ['a method that does not exist', 'CHARGE /charges HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['a control character in the key', 'POST /charges HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: a\x01b\r\n\r\n'],
    ['two lengths', `POST /charges HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
  ])('is told so: %s', async (_, bytes) => {
    await expectExplained(await sendBytes(service.url, bytes), 400, 'malformed_request');
  });
});

describe('an error that nobody foresaw', () => {
  beforeEach(() => database.sql('ALTER TABLE charges RENAME COLUMN id TO lost'));
  const repair = () => database.sql('ALTER TABLE charges RENAME COLUMN lost TO id');

  it('is 500 for a reader, and tells nothing of the insides', async () => {
    const answers = [await service.http.get('/charges'), await service.http.get('/charges/ch_1')];
    await repair();
    for (const answer of answers) {
      expect(await expectExplained(answer, 500, 'internal_error')).toMatchObject({ outcome: 'not_started' });
      expect(answer.text).not.toMatch(/lost|column|charges/);
    }
  });

  it('is 500 for a charge, may have had an effect for all we know, and is forgotten', async () => {
    const failed = await service.charge('order_1');
    await repair();
    expect(await expectExplained(failed, 500, 'internal_error')).toMatchObject({ outcome: 'unknown', retryable: true });
    expect(failed.text).not.toMatch(/lost|column|charges/);
    expect(await effects(database)).toEqual(NOTHING);

    const retried = await service.charge('order_1');
    expect([retried.status, isFirst(retried)]).toEqual([200, true]);
  });
});

describe('accounts', () => {
  const as = (account: 'a' | 'b') => ({ authorization: `Bearer sk_secret_${account}` });

  it.each([
    ['no Authorization', {}],
    ['an unknown secret', { authorization: 'Bearer sk_secret_c' }],
    ['a part of a secret', { authorization: 'Bearer sk_secret_' }],
    ['an account in place of its secret', { authorization: 'Bearer acct_a' }],
    ['another scheme', { authorization: 'Basic sk_secret_a' }],
    ['no scheme', { authorization: 'sk_secret_a' }],
    ['no secret', { authorization: 'Bearer' }],
    ['two secrets', { authorization: 'Bearer sk_secret_a sk_secret_b' }],
  ])('refuse %s, even where there is a reply to replay', async (_, headers) => {
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

  it('take the scheme in any letter case', async () => {
    expect((await guarded.charge('order_1', CHARGE, { authorization: 'bearer sk_secret_a' })).status).toBe(200);
  });

  it('use the same key and body for two charges, and replay each its own', async () => {
    const [a, b] = [await guarded.charge('k', CHARGE, as('a')), await guarded.charge('k', CHARGE, as('b'))];
    expect([a, b].every(isFirst)).toBe(true);
    expect(a.text).not.toBe(b.text);
    expect(replyOf(await guarded.charge('k', CHARGE, as('a')))).toEqual(replyOf(a));
    expect(replyOf(await guarded.charge('k', CHARGE, as('b')))).toEqual(replyOf(b));
    expect((await effects(database)).captures).toBe(2);
  });

  it('never see the charges and keys of another, nor are blocked by them', async () => {
    const id = idOf(await guarded.charge('order_1', CHARGE, as('a')));
    const read = (path: string) => guarded.http.get(path).set(as('b'));
    expectProblem(await read(`/charges/${id}`), 404, 'not_found');
    expectProblem(await read('/idempotency-keys/order_1'), 404, 'not_found');
    expect((await read('/charges')).body).toEqual({ object: 'list', data: [], has_more: false });
    expect((await guarded.charge('order_1', { amount: 1, currency: 'usd' }, as('b'))).status).toBe(200);
  });
});
