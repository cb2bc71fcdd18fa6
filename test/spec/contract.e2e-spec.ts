// Goal: specify how the Idempotency-Key behaves for an HTTP client: which keys are valid, what is replayed, and which requests are the same.
// Method: send raw requests to one replica, compare the bytes of the replies, and count the rows in the database.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, leaveBehind, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { type Answer, expectProblem, JSON_TYPE, send } from '../support/wire.js';

let database: TestDatabase;
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url);
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

/** POST /charges with exactly these headers and this body. */
const post = (headers: string[], body = JSON.stringify(CHARGE)) =>
  send(service.url, { headers: [...JSON_TYPE, ...headers], body });

const keyed = (key: string, body?: string) => post(['Idempotency-Key', key], body);

const isFirst = ({ headers }: Answer) => headers['idempotent-replayed'] === undefined;
const isReplay = ({ headers }: Answer) => headers['idempotent-replayed'] === 'true';

describe('the Idempotency-Key of POST /charges', () => {
  it('refuses a charge without an Idempotency-Key, and charges nothing', async () => {
    expectProblem(await service.charge(undefined), 400, 'idempotency_key_missing');
    expect(await effects(database)).toEqual(NOTHING);
  });

  it.each([
    ['that is empty', ''],
    ['of 256 characters', 'k'.repeat(256)],
    ['of 256 characters in quotes', `"${'k'.repeat(256)}"`],
    ['with a space inside', 'order 12345'],
    ['with a space in quotes', '"order 12345"'],
    ['with a letter that is not ASCII', 'caf\u00e9'],
    ['with a control character', 'order\t12345'],
    ['with an opening quote only', '"order_12345'],
    ['with a closing quote only', 'order_12345"'],
    ['with a quote in the middle', 'order"12345'],
    ['with nothing between its quotes', '""'],
    ['that is two quoted strings', '"order_1", "order_2"'],
  ])('refuses an Idempotency-Key %s, and charges nothing', async (_, key) => {
    expectProblem(await keyed(key), 400, 'idempotency_key_invalid');
    expect(await effects(database)).toEqual(NOTHING);
  });

  it.each([
    ['with different keys', ['Idempotency-Key', 'one', 'Idempotency-Key', 'two']],
    ['with the same key', ['Idempotency-Key', 'one', 'Idempotency-Key', 'one']],
    ['with the header name in two spellings', ['Idempotency-Key', 'one', 'idempotency-key', 'two']],
    ['with an empty second header', ['Idempotency-Key', 'one', 'Idempotency-Key', '']],
  ])('refuses a request that sends the Idempotency-Key header twice, %s', async (_, headers) => {
    expectProblem(await post(headers), 400, 'idempotency_key_invalid');
    expect(await effects(database)).toEqual(NOTHING);
  });

  it.each([
    ['one character', '1'],
    ['255 characters', 'k'.repeat(255)],
    [
      'every visible ASCII character except the quote',
      [...Array(94).keys()]
        .map((i) => String.fromCharCode(33 + i))
        .join('')
        .replace('"', ''),
    ],
    ['two words with a comma, although HTTP joins repeated headers with a comma', 'one,two'],
  ])('accepts an Idempotency-Key of %s, and replays its reply', async (_, key) => {
    expect((await keyed(key)).status).toBe(200);
    expect(isReplay(await keyed(key))).toBe(true);
    expect(await database.sql('SELECT idempotency_key FROM processed_requests')).toEqual([{ idempotency_key: key }]);
  });

  it.each([
    ['bare', 'quoted', 'order_12345', '"order_12345"'],
    ['quoted', 'bare', '"order_12345"', 'order_12345'],
    ['bare', 'quoted with escapes', 'a\\b', '"a\\\\b"'],
    ['bare', 'bare with surrounding white space', 'order_12345', '  order_12345\t'],
  ])('recognises one key that is sent %s and then %s', async (_a, _b, one, other) => {
    const first = await keyed(one);
    const second = await keyed(other);
    expect([isFirst(first), isReplay(second)]).toEqual([true, true]);
    expect(second.text).toBe(first.text);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('distinguishes upper and lower case in an Idempotency-Key', async () => {
    const replies = [await keyed('order_A'), await keyed('order_a')];
    expect(replies.every(isFirst)).toBe(true);
    expect((await effects(database)).captures).toBe(2);
  });
});

describe('the reply to a repeated POST /charges', () => {
  it.each([
    ['a success', 'tok_visa', 200, 'application/json; charset=utf-8'],
    ['a declined card', 'tok_chargeDeclined', 402, 'application/problem+json; charset=utf-8'],
    ['a lack of funds', 'tok_insufficientFunds', 402, 'application/problem+json; charset=utf-8'],
  ])(
    'repeats the reply to %s with the same status, type and bytes, and marks only the replay',
    async (_, source, status, type) => {
      const body = JSON.stringify({
        ...CHARGE,
        source,
        description: 'caf\u00e9 \u2615 \u{1f600}',
        metadata: { b: '1', a: '2' },
      });
      const first = await keyed('order_1', body);
      expect(first).toMatchObject({ status, headers: { 'content-type': type } });
      expect(isFirst(first)).toBe(true);

      for (const replay of [await keyed('order_1', body), await keyed('order_1', body)]) {
        expect(replay).toMatchObject({ status, headers: { 'content-type': type, 'idempotent-replayed': 'true' } });
        expect(replay.text).toBe(first.text);
        expect(replay.headers['content-length']).toBe(String(Buffer.byteLength(first.text)));
      }
      const [succeeded, failed] = status === 200 ? [1, 0] : [0, 1];
      expect(await effects(database)).toEqual({ ...ONE_CHARGE, succeeded, failed, captures: succeeded });
    },
  );

  it('answers 402 to a declined card, with the decline code, the id of the charge and a final outcome', async () => {
    const declined = await service.charge('order_1', { ...CHARGE, source: 'tok_insufficientFunds' });
    const problem = expectProblem(declined, 402, 'card_declined');
    expect(problem).toMatchObject({ outcome: 'final', retryable: false, decline_code: 'insufficient_funds' });
    const charge = await service.http.get(`/charges/${String(problem['charge_id'])}`);
    expect(charge.body).toMatchObject({ status: 'failed', decline_code: 'insufficient_funds' });
  });

  it('charges again, with a new reply, once the key has expired', async () => {
    const first = await service.charge('order_1');
    await database.sql("UPDATE processed_requests SET created_at = now() - interval '24 hours 1 second'");
    const later = await service.charge('order_1', { amount: 5, currency: 'usd' });
    expect([later.status, isFirst(later)]).toEqual([200, true]);
    expect(later.text).not.toBe(first.text);
    expect((await effects(database)).captures).toBe(2);
  });

  describe('says in Idempotency-Key-Expires when the key expires', () => {
    /** The expiry time of a key that the service reports, without fractions of a second, as a header has it. */
    const expiresAt = async (key = 'order_1') => {
      const found = await service.http.get(`/idempotency-keys/${key}`).expect(200);
      return new Date((found.body as { expires_at: string }).expires_at).toUTCString();
    };
    const expiresOf = ({ headers }: { headers: object }) =>
      (headers as Record<string, string>)['idempotency-key-expires'];

    it.each([
      ['in groups', {}],
      ['one by one', { IDEMPOTENCY_GROUP_SIZE: '1' }],
      ['in groups and kept in memory', { IDEMPOTENCY_CACHE_MIB: '1' }],
    ])(
      'sends one expiry time with the first reply, with the replies to duplicates in flight and with replays, if replies are recorded %s',
      async (_, settings) => {
        const other = await startService(database.url, settings);
        try {
          const charges = Array.from({ length: 3 }, () => other.charge('order_1'));
          const replies = [
            ...(await Promise.all(charges)),
            await other.charge('order_1'),
            await service.charge('order_1'),
          ];
          expect(replies.map(({ status }) => status)).toEqual(Array(5).fill(200));
          expect(replies.map(expiresOf)).toEqual(Array(5).fill(await expiresAt()));
        } finally {
          await other.stop();
        }
      },
    );

    it('sends the expiry time with a refusal that is recorded, and with its replay', async () => {
      const decline = () => service.charge('order_1', { ...CHARGE, source: 'tok_chargeDeclined' });
      const replies = [await decline(), await decline()];
      expect(replies.map(({ status }) => status)).toEqual([402, 402]);
      expect(replies.map(expiresOf)).toEqual(Array(2).fill(await expiresAt()));
    });

    it('sends each request its own expiry time if requests with keys of different ages are completed together', async () => {
      const keys = Array.from({ length: 8 }, (_, i) => `order_${i}`);
      for (const [hours, key] of keys.entries()) {
        await leaveBehind(database, { key, leaseSeconds: 0 });
        await database.sql(
          `UPDATE processed_requests SET created_at = now() - interval '${hours} hours' WHERE idempotency_key = '${key}'`,
        );
      }
      const replies = await Promise.all(keys.map((key) => service.charge(key)));
      expect(replies.map(({ status }) => status)).toEqual(keys.map(() => 200));
      expect(replies.map(expiresOf)).toEqual(await Promise.all(keys.map(expiresAt)));
    });

    it('sends the expiry time of a request that was completed late, which is counted from its completion', async () => {
      await leaveBehind(database, { key: 'order_1', leaseSeconds: 0 });
      await database.sql("UPDATE processed_requests SET created_at = now() - interval '20 hours'");
      const before = await expiresAt();
      const replies = [await service.charge('order_1'), await service.charge('order_1')];
      expect(replies.map(({ status }) => status)).toEqual([200, 200]);
      expect(await expiresAt()).not.toBe(before);
      expect(replies.map(expiresOf)).toEqual(Array(2).fill(await expiresAt()));
    });

    it('sends no expiry time if the reply is not recorded, because the key was refused or no key was sent', async () => {
      const order = { order_id: 'o_1', items: [{ item_id: 'beans', quantity: 1, unit_amount: 5 }] };
      await service.http.put('/inventory/beans').send({ stock: 5 }).expect(201);
      const unkeyed = await service.http.post('/orders').send(order).expect(200);
      await service.charge('order_1');
      const reused = await service.charge('order_1', { ...CHARGE, amount: 1 });
      const silent = await service.charge('order_2', { ...CHARGE, source: 'tok_timeout' });
      expect([reused.status, silent.status]).toEqual([422, 504]);
      expect([unkeyed, reused, silent].map(expiresOf)).toEqual(Array(3).fill(undefined));
    });
  });

  it.each([
    ['tok_unavailable', 503, 'gateway_unavailable'],
    ['tok_timeout', 504, 'gateway_timeout'],
  ] as const)('records no reply while the gateway does not answer (%s)', async (source, status, code) => {
    const problem = expectProblem(await service.charge('order_1', { ...CHARGE, source }), status, code);
    expect(problem).toMatchObject({ outcome: 'unknown', retryable: true });
    expect(await effects(database)).toMatchObject({ completed: 0, in_progress: 1, pending: 1 });
  });
});

describe('the comparison of two requests with one key', () => {
  const BODY = '{"amount":1999,"currency":"eur","description":"caf\u00e9"}';

  it.each([
    ['the order of members', '{"description":"caf\u00e9","currency":"eur","amount":1999}'],
    ['white space', ' {\r\n\t"amount" : 1999 , "currency":"eur", "description":"caf\u00e9"\n} '],
    ['a decimal point in the amount', BODY.replace('1999', '1999.0')],
    ['an exponent in the amount', BODY.replace('1999', '1.999e3')],
    ['an escaped letter', BODY.replace('\u00e9', '\\u00e9')],
  ])('replays the reply to a request that differs only in %s', async (_, body) => {
    const first = await keyed('order_1', BODY);
    const second = await keyed('order_1', body);
    expect([first.status, isReplay(second)]).toEqual([200, true]);
    expect(second.text).toBe(first.text);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it.each([
    ['another amount', BODY.replace('1999', '2000')],
    ['a currency in upper case', BODY.replace('eur', 'EUR')],
    ['another letter case in the description', BODY.replace('caf', 'Caf')],
    ['a letter composed of two characters instead of one', BODY.replace('\u00e9', 'e\u0301')],
    ['a space at the end of the description', BODY.replace('\u00e9', '\u00e9 ')],
    ['an added member', BODY.replace('}', ',"order_id":"o_1"}')],
    ['an added member with its default value', BODY.replace('}', ',"source":"tok_visa"}')],
    ['an added null', BODY.replace('}', ',"order_id":null}')],
    ['a missing member', '{"amount":1999,"currency":"eur"}'],
  ])('answers 422 to a used key when the request differs in %s', async (_, body) => {
    const first = await keyed('order_1', BODY);
    expectProblem(await keyed('order_1', body), 422, 'idempotency_key_reused');
    expect((await keyed('order_1', BODY)).text).toBe(first.text);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('answers 422 to another request with a key whose first request is still in flight', async () => {
    await leaveBehind(database, { key: 'order_1', leaseSeconds: 60 });
    expectProblem(await service.charge('order_1', { ...CHARGE, amount: 1 }), 422, 'idempotency_key_reused');
  });
});

describe('GET /idempotency-keys/:key', () => {
  const DAY_MS = 24 * 60 * 60 * 1000;
  const lookUp = (key: string) => service.http.get(`/idempotency-keys/${encodeURIComponent(key)}`);

  it('shows the state, the creation time and the expiry time of a key in progress', async () => {
    await leaveBehind(database, { key: 'order_1', leaseSeconds: 60 });
    const { text } = await lookUp('order_1').expect(200);
    const found = JSON.parse(text) as Record<string, string>;
    expect(found).toMatchObject({ idempotency_key: 'order_1', status: 'in_progress', operation: 'POST /charges' });
    expect(Date.parse(found['expires_at'] ?? '') - Date.parse(found['created_at'] ?? '')).toBe(DAY_MS);
  });

  it.each([
    ['plain', 'order_12345'],
    ['with slashes and dots', '../a/b/./c'],
    ['with characters that URLs reserve', '?x=%20&y#z;:@+,[]'],
    ['that looks percent-encoded', '%2F%zz%'],
    ['with a backslash', 'a\\b'],
    ['of 255 characters that must be encoded', '%'.repeat(255)],
  ])('finds a completed key (%s)', async (_, key) => {
    await keyed(key);
    expect((await lookUp(key)).body).toMatchObject({ idempotency_key: key, status: 'completed' });
    expect((await lookUp(`"${key.replaceAll('\\', '\\\\')}"`)).body).toMatchObject({ idempotency_key: key });
  });

  it('answers 404 for a key that was never used, and for a key that has expired', async () => {
    expectProblem(await lookUp('order_1'), 404, 'not_found');
    await service.charge('order_1');
    await database.sql("UPDATE processed_requests SET created_at = now() - interval '25 hours'");
    expectProblem(await lookUp('order_1'), 404, 'not_found');
  });

  it('answers 400 for a text that is not a valid key', async () => {
    expectProblem(await lookUp('a b'), 400, 'idempotency_key_invalid');
    expectProblem(await lookUp('k'.repeat(256)), 400, 'idempotency_key_invalid');
  });
});
