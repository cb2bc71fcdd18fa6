// Goal: prove which charges are valid, that card data is refused and never stored, and how charges are listed.
// Method: send charges as raw JSON, compare the problems, and search every table for card data.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { migrate } from '../../src/database/migrate.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { expectProblem, JSON_TYPE, send } from '../support/wire.js';

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

/** Takes the body as text, because JavaScript cannot write numbers such as 1e999. */
const post = (body: string) => send(service.url, { headers: [...JSON_TYPE, 'Idempotency-Key', 'order_1'], body });

type Resource = Record<string, unknown> & { id: string };
const resourceOf = ({ text }: { text: string }) => JSON.parse(text) as Resource;

/** The body of a valid charge, with one member added or replaced. */
const withMember = (name: string, json: string) =>
  `{${Object.entries({ amount: '1999', currency: '"eur"', [name]: json })
    .map(([member, value]) => `${JSON.stringify(member)}:${value}`)
    .join()}}`;

const pairs = (count: number, name: string, text: string) =>
  JSON.stringify(Object.fromEntries([...Array(count).keys()].map((i) => [`${name}${i}`.slice(-40), text])));

/** Adds a title that fits into one line before the JSON of each row. */
const titled = <Rest extends unknown[]>(rows: [member: string, json: string, ...Rest][]) =>
  rows.map(([member, json, ...rest]): [string, string, string, ...Rest] => [
    `${member} ${json.length > 50 ? `${json.slice(0, 20)}… of ${json.length} characters` : json}`,
    member,
    json,
    ...rest,
  ]);

const fieldsOf = (problem: Record<string, unknown>) =>
  (problem['errors'] as { field: string; message: string }[]).map(({ field, message }) => {
    expect(message).toMatch(/expected|unknown member/);
    return field;
  });

describe('a member of POST /charges', () => {
  it.each(
    titled([
      ['amount', '0'],
      ['amount', '-1999'],
      ['amount', '19.99'],
      ['amount', '"1999"'],
      ['amount', 'true'],
      ['amount', 'null'],
      ['amount', '[1999]'],
      ['amount', '100000000'],
      ['amount', '9007199254740993'],
      ['amount', '1e999'],
      ['currency', '"euro"'],
      ['currency', '"xyz"'],
      ['currency', '"u\u017fd"'],
      ['currency', '"\u0131dr"'],
      ['currency', '"\u00dfp"'],
      ['currency', '""'],
      ['currency', '978'],
      ['currency', 'null'],
      ['currency', '["eur"]'],
      ['source', '"tok_unknown"'],
      ['source', '"constructor"'],
      ['source', '""'],
      ['source', '["tok_visa"]'],
      ['source', '{"token":"tok_visa"}'],
      ['order_id', '""'],
      ['order_id', JSON.stringify('o'.repeat(256))],
      ['order_id', '12345'],
      ['description', JSON.stringify('d'.repeat(501))],
      ['description', '{}'],
      ['description', '"a\\u0000b"'],
      ['description', '"a\\ud800b"'],
      ['metadata', '"text"'],
      ['metadata', '["text"]'],
      ['metadata', '{"a":1}'],
      ['metadata', '{"a":null}'],
      ['metadata', '{"a\\u0000":"text"}'],
      ['metadata', '{"a":{"b":"c"}}'],
      ['metadata', pairs(51, 'n', 'text')],
      ['metadata', JSON.stringify({ ['n'.repeat(41)]: 'text' })],
      ['metadata', JSON.stringify({ a: 't'.repeat(501) })],
      ['amout', '1999'],
      ['constructor', '"x"'],
      ['id', '"ch_1"'],
    ]),
  )('answers 400 and names the member of a charge: %s', async (_, member, json) => {
    const problem = expectProblem(await post(withMember(member, json)), 400, 'validation_failed');
    expect(fieldsOf(problem)).toEqual([member]);
    expect(problem['detail']).toContain(member);
    expect(await effects(database)).toEqual(NOTHING);
  });

  it('names every bad member of a charge', async () => {
    const problem = expectProblem(await post('{"amount":-1,"colour":"red"}'), 400, 'validation_failed');
    expect(fieldsOf(problem).sort()).toEqual(['amount', 'colour', 'currency']);
  });

  it.each(
    titled<[unknown]>([
      ['amount', '1', 1],
      ['amount', '99999999', 99_999_999],
      ['currency', '"JPY"', 'jpy'],
      ['source', '"tok_mastercard"', 'tok_mastercard'],
      ['source', 'null', 'tok_visa'],
      ['order_id', JSON.stringify('o'.repeat(255)), 'o'.repeat(255)],
      ['description', '""', ''],
      ['description', JSON.stringify('\u2615'.repeat(500)), '\u2615'.repeat(500)],
      ['metadata', '{}', {}],
      ['metadata', '{"a":"","":"b"}', { a: '', '': 'b' }],
    ]),
  )('accepts a member of a charge at its limit, and returns it: %s', async (_, member, json, value) => {
    const answer = await post(withMember(member, json));
    expect(answer.status).toBe(200);
    expect(resourceOf(answer)[member]).toEqual(value);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it.each(['constructor', 'prototype', 'toString', 'hasOwnProperty', 'then'])(
    'returns or refuses metadata with a name that JavaScript objects already have: %s',
    async (name) => {
      const answer = await post(withMember('metadata', JSON.stringify({ [name]: 'text' })));
      if (answer.status !== 200) return void expectProblem(answer, 400, 'validation_failed');
      expect(resourceOf(answer)['metadata']).toEqual({ [name]: 'text' });
    },
  );

  it.each([
    ['ASCII', 'text', 'n'],
    ['Chinese', '\u6f22', '\u5b57'],
  ])('accepts metadata of 50 pairs with 40 and 500 characters, in %s', async (_, text, name) => {
    const metadata = pairs(50, name.repeat(40), text.repeat(500).slice(0, 500));
    const answer = await post(withMember('metadata', metadata));
    expect(answer.status).toBe(200);
    expect(resourceOf(answer)['metadata']).toEqual(JSON.parse(metadata));
  });
});

describe('card data', () => {
  const NUMBER = '4242424242424242';
  const CVC = '987';
  const toFullWidth = (digits: string) =>
    digits.replace(/\d/g, (digit) => String.fromCharCode(digit.charCodeAt(0) + 0xfee0));

  /** Every row of every table, as text. */
  async function stored(): Promise<string> {
    const tables = await database.sql<{ name: string }>(
      `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname IN ('public', 'bank')`,
    );
    const everything = tables.map(({ name }) => `SELECT t::text AS row FROM ${name} AS t`).join(' UNION ALL ');
    return (await database.sql<{ row: string }>(everything)).map(({ row }) => row).join('\n');
  }

  it.each([
    ['a number', 'description', `"${NUMBER}"`],
    ['another number', 'description', '"5555555555554444"'],
    ['a number of 15 digits', 'description', '"378282246310005"'],
    ['a number with spaces', 'description', '"4242 4242 4242 4242"'],
    ['a number with hyphens', 'description', '"4242-4242-4242-4242"'],
    ['a number in other groups', 'description', '"3782 822463 10005"'],
    ['a number within a text', 'description', `"paid with ${NUMBER}, thanks"`],
    ['a number within a word', 'description', `"card${NUMBER}visa"`],
    ['a number as an id', 'description', `"ch_${NUMBER}"`],
    ['a number before its expiry', 'description', '"4242 4242 4242 4242 12/29"'],
    ['a number before its CVC', 'description', `"${NUMBER} ${CVC}"`],
    ['a number after another', 'description', `"order 7 ${NUMBER}"`],
    ['two numbers', 'description', `"${NUMBER} 5555555555554444"`],
    ['a number', 'source', `"${NUMBER}"`],
    ['a number', 'order_id', `"${NUMBER}"`],
    ['a number', 'currency', `"${NUMBER}"`],
    ['a JSON number', 'source', NUMBER],
    ['a JSON number', 'amount', NUMBER],
    ['a JSON number with an exponent', 'amount', '4242424242424242e0'],
    ['a number as a value', 'metadata', `{"card":"${NUMBER}"}`],
    ['a number as a name', 'metadata', `{"${NUMBER}":"card"}`],
    ['a nested number', 'metadata', `{"a":[{"b":"${NUMBER}"}]}`],
    ['a number as the name of a member', NUMBER, '"card"'],
    ['a number in an unknown member', 'card', `{"number":"${NUMBER}"}`],
    ['a number with no-break spaces', 'description', '"4242\u00a04242\u00a04242\u00a04242"'],
    ['a number with slashes', 'description', '"4242/4242/4242/4242"'],
    ['a number with three spaces', 'metadata', '{"note":"4242   4242   4242   4242"}'],
    ['a number with underscores', 'order_id', '"4242_4242_4242_4242"'],
    ['a number in full-width digits', 'description', `"${toFullWidth(NUMBER)}"`],
    ['a CVC', 'metadata', `{"cvc":"${CVC}"}`],
    ['a CVC of four digits', 'metadata', `{"CVV2":"${CVC}4"}`],
    ['a CVC as a JSON number', 'metadata', `{"card_cvc":${CVC}}`],
    ['a CVC by another name', 'metadata', `{"security_code":" ${CVC} "}`],
    ['a CVC', 'cvc', `"${CVC}"`],
    ['a CVC in a text', 'description', `"cvc ${CVC}"`],
    ['a CVC in a text', 'metadata', `{"note":"the CVV: ${CVC}"}`],
  ])(
    'refuses card data, neither echoes nor stores it, and leaves the key unused: %s in %s %s',
    async (_, member, json) => {
      const answer = await post(withMember(member, json));
      expectProblem(answer, 400, 'card_data_refused');
      expect(answer.text.normalize('NFKC').replace(/[ /_-]/g, '')).not.toMatch(/4242424242|5555555555|37828224|987/);
      expect((await stored()).normalize('NFKC')).not.toMatch(/4242[ /_-]*4242|5555 ?-?5555|3782 ?8224|\D987\D/);
      expect(await effects(database)).toEqual(NOTHING);

      const corrected = await post(JSON.stringify(CHARGE));
      expect([corrected.status, corrected.headers['idempotent-replayed']]).toEqual([200, undefined]);
    },
  );

  it.each([NUMBER, 'pay-4242-4242-4242-4242', `"${NUMBER}"`])(
    'refuses a card number as an idempotency key, because keys are stored: %s',
    async (key) => {
      const answer = await service.charge(key);
      expectProblem(answer, 400, 'card_data_refused');
      expect(answer.text).not.toMatch(/4242/);
      expect(await effects(database)).toEqual(NOTHING);
    },
  );

  it('does not search for card data in the id of a charge in starting_after', async () => {
    const answer = await service.http.get('/charges?starting_after=ch_3f0041d6094919339959a83103b500cc');
    expect(answer.status).toBe(200);
  });

  it('answers 400 to a CVC that is an object, without an error in the search for card data', async () => {
    expectProblem(await post(withMember('metadata', '{"cvc":{"toString":1,"valueOf":2}}')), 400, 'validation_failed');
  });

  it.each([
    ['query', `/charges?starting_after=${NUMBER}`],
    ['name of a query', `/charges?${NUMBER}=1`],
  ])('refuses a card number in the %s', async (_, path) => {
    const answer = await service.http.get(path);
    expectProblem(answer, 400, 'card_data_refused');
    expect(answer.text).not.toContain(NUMBER);
  });

  it.each(['/charges/', '/idempotency-keys/'])(
    'does not search for card data in the path %s, because paths are not stored',
    async (path) => {
      const answer = await service.http.get(path + NUMBER);
      expectProblem(answer, 404, 'not_found');
      expect(answer.text).not.toContain(NUMBER);
    },
  );

  it.each([
    ['16 digits with another check digit', '4242424242424241'],
    ['12 digits', '424242424242'],
    ['20 digits', '42424242424242424242'],
    ['a UUID', '123e4567-e89b-42d3-a456-426614174000'],
    ['the id of a charge', 'as ch_3f0041d6094919339959a83103b500cc'],
    ['a date and a time', '2026-11-24 04:09:14'],
    ['a telephone number', '+49 30 901820'],
    ['a word that begins like a CVC', 'cvc not stored, room 123'],
    ['a CVC without digits', 'cvc: none'],
    ['a time in milliseconds', '1732406954005'],
    ['a date beside a number', 'Invoice 2024-11-05 1234560'],
    ['the name of an article', 'CSC-2000'],
    ['the number of an article', '4006381333023'],
    ['a snowflake', '1850000000000000007'],
    ['the number of a device', '490154203237518'],
  ])('accepts a text that resembles card data: %s', async (_, text) => {
    const answer = await post(
      JSON.stringify({ ...CHARGE, description: text, metadata: { note: text, cvc: 'none', cid: '1234' } }),
    );
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.text)).toMatchObject({ description: text, metadata: { note: text } });
  });
});

describe('GET /charges', () => {
  it('lists each of 25 charges once, newest first, in pages of ten', async () => {
    const made: string[] = [];
    for (let i = 0; i < 25; i++) made.unshift(resourceOf(await service.charge(`order_${i}`)).id);

    const pages: { data: Resource[]; has_more: boolean }[] = [];
    do {
      const after = pages.at(-1)?.data.at(-1)?.id;
      const query = { limit: 10, ...(after && { starting_after: after }) };
      pages.push((await service.http.get('/charges').query(query).expect(200)).body as (typeof pages)[number]);
    } while (pages.at(-1)?.has_more && pages.length < 9);

    expect(pages.map(({ data }) => data.length)).toEqual([10, 10, 5]);
    expect(pages.map(({ has_more }) => has_more)).toEqual([true, true, false]);
    expect(pages.flatMap(({ data }) => data.map(({ id }) => id))).toEqual(made);
  });

  it('ends a page of large charges before its limit, and lists each charge once', async () => {
    // 17 such charges have 256 KiB, the largest page.
    const metadata = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`name_${i}`, 'x'.repeat(500)]));
    const made: string[] = [];
    for (let i = 0; i < 40; i++)
      made.unshift(resourceOf(await service.charge(`order_${i}`, { ...CHARGE, metadata })).id);

    const pages: { data: Resource[]; has_more: boolean }[] = [];
    do {
      const after = pages.at(-1)?.data.at(-1)?.id;
      const query = { limit: 100, ...(after && { starting_after: after }) };
      pages.push((await service.http.get('/charges').query(query).expect(200)).body as (typeof pages)[number]);
    } while (pages.at(-1)?.has_more && pages.length < 9);

    expect(pages.map(({ data }) => data.length)).toEqual([17, 17, 6]);
    expect(pages.flatMap(({ data }) => data.map(({ id }) => id))).toEqual(made);
  });

  it('lists charges newest first also in a database that sorts digits by their numeric value', async () => {
    const numeric = await createDatabase({ empty: true, icuLocale: 'und-u-kn' });
    await migrate(numeric.url);
    const there = await startService(numeric.url);
    try {
      const ids = ['10', '1a', '9', 'a'].map((digits) => `ch_${digits.padEnd(32, '0')}`);
      await numeric.sql(
        `INSERT INTO charges (account_id, id, amount, currency, source, metadata, status, created_at)
         SELECT 'acct_demo', unnest($1::text[]), 1999, 'eur', 'tok_visa', '{}', 'pending', now()`,
        [ids],
      );
      const list = async (query = '') =>
        ((await there.http.get(`/charges${query}`)).body as { data: Resource[] }).data.map(({ id }) => id);
      expect(await list()).toEqual(ids.toReversed());
      expect(await list(`?starting_after=${ids[1]}`)).toEqual([ids[0]]);
    } finally {
      await there.stop();
      await numeric.drop();
    }
  });

  it('says has_more: false after a last page that is full, and lists a charge as POST and GET by id show it', async () => {
    const charge = resourceOf(await service.charge('order_1', { ...CHARGE, metadata: { cashier: 'ada' } }));
    const page = { object: 'list', data: [charge], has_more: false };
    expect((await service.http.get('/charges?limit=1')).body).toEqual(page);
    expect((await service.http.get(`/charges/${charge.id}`)).body).toEqual(charge);
    expect((await service.http.get(`/charges?starting_after=${charge.id}`)).body).toEqual({ ...page, data: [] });
  });

  it.each([
    ['limit', '0'],
    ['limit', '-1'],
    ['limit', '101'],
    ['limit', '1.5'],
    ['limit', 'ten'],
    ['limit', ''],
    ['limit', '1&limit=2'],
    ['starting_after', 'order_1'],
    ['starting_after', 'ch_'],
    ['starting_after', `ch_${'g'.repeat(32)}`],
    ['starting_after', ''],
    ['offset', '10'],
  ])('answers 400 and names the bad parameter of a list: %s=%s', async (name, value) => {
    const problem = expectProblem(await service.http.get(`/charges?${name}=${value}`), 400, 'validation_failed');
    expect(fieldsOf(problem)).toEqual([name]);
  });
});
