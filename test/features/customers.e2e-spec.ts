import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { call as callUrl, type Call, etagOf, isReplay, statusesOf, TWO_ACCOUNTS } from '../support/client.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { replyOf, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { until } from '../support/waiting.js';
import { expectProblem } from '../support/wire.js';

let database: TestDatabase;
let service: TestService;
/** Another replica on the same database. */
let replica: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, TWO_ACCOUNTS);
  replica = await startService(database.url, TWO_ACCOUNTS);
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await replica?.stop();
  await database?.drop();
});

const ADA = { name: 'Ada Lovelace', email: 'ada@example.com', status: 'active' };
const RESOURCE = { id: 'ada', object: 'customer', ...ADA, version: 1 };

const call = (method: string, options?: Call, path = '/customers/ada', url = service.url) =>
  callUrl(url, method, path, options);
const put = (options?: Call) => call('PUT', { body: ADA, ...options });
const patch = (ifMatch: string | undefined, options?: Call) =>
  call('PATCH', { body: { name: 'Ada King' }, ...(ifMatch !== undefined && { ifMatch }), ...options });
const rows = () => database.sql<Record<string, unknown>>('SELECT * FROM customers ORDER BY 1, 2');

describe('PUT /customers/:id', () => {
  it('makes a customer, with a version as its ETag: 201', async () => {
    const made = await put();
    expect([made.status, etagOf(made), made.body]).toEqual([201, '"1"', RESOURCE]);
    const read = await call('GET');
    expect([read.status, etagOf(read), read.body]).toEqual([200, '"1"', RESOURCE]);
  });

  it('replaces all of one that is there, and counts its version on: 200', async () => {
    await put();
    const replaced = await put({ body: { ...ADA, status: 'inactive' } });
    expect([replaced.status, etagOf(replaced)]).toEqual([200, '"2"']);
    expect(replaced.body).toEqual({ ...RESOURCE, status: 'inactive', version: 2 });
  });

  it('refuses an id that looks like a card number, as an order that names it would be', async () => {
    const path = '/customers/4242424242424242';
    expectProblem(await call('PUT', { body: ADA }, path), 400, 'card_data_refused');
    expectProblem(await call('PATCH', { body: ADA, ifMatch: '"1"', key: 'key_1' }, path), 400, 'card_data_refused');
    expect(await rows()).toEqual([]);
    expectProblem(await call('GET', {}, path), 404, 'not_found');
  });

  it('changes nothing when it is sent again, not even the version', async () => {
    await put();
    const before = await rows();
    for (let i = 0; i < 5; i++) {
      const again = await put();
      expect([again.status, etagOf(again), again.body]).toEqual([200, '"1"', RESOURCE]);
    }
    expect(await rows()).toEqual(before);
  });

  it('makes one customer of many at the same time, and tells one of them that it is new', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => put()));
    expect(statusesOf(answers)).toEqual({ 200: 19, 201: 1 });
    expect(answers.map(etagOf)).toEqual(answers.map(() => '"1"'));
  });

  it('honours If-Match: the version that is meant, or 412 with the current one', async () => {
    await put();
    expect((await put({ ifMatch: '"1"', body: { ...ADA, name: 'A' } })).status).toBe(200);
    const stale = await put({ ifMatch: '"1"', body: { ...ADA, name: 'B' } });
    expectProblem(stale, 412, 'version_mismatch');
    expect(etagOf(stale)).toBe('"2"');
    expect((await call('GET')).body).toMatchObject({ name: 'A', version: 2 });
    const same = await put({ ifMatch: '"2"', body: { ...ADA, name: 'A' } });
    expect([same.status, etagOf(same)]).toEqual([200, '"2"']);
  });

  it.each([['"1"'], ['*']])(
    'makes nothing under If-Match %s: there is no version of what is not there',
    async (ifMatch) => {
      expectProblem(await put({ ifMatch }), 412, 'version_mismatch');
      expect(await rows()).toEqual([]);
    },
  );

  it.each([
    ['name', { ...ADA, name: '' }],
    ['name', { ...ADA, name: 'n'.repeat(256) }],
    ['name', { ...ADA, name: 1 }],
    ['name', { email: ADA.email, status: ADA.status }],
    ['email', { ...ADA, email: 'ada' }],
    ['email', { ...ADA, email: null }],
    ['status', { ...ADA, status: 'gone' }],
    ['colour', { ...ADA, colour: 'red' }],
    ['version', { ...ADA, version: 7 }],
  ])('refuses a bad %s, and changes nothing: %j', async (member, body) => {
    expect(expectProblem(await put({ body }), 400, 'validation_failed')['detail']).toContain(`${member}: `);
    expect(await rows()).toEqual([]);
  });
});

describe('PATCH /customers/:id', () => {
  it('changes what it names, of the version that was read', async () => {
    await put();
    const changed = await patch('"1"');
    expect([changed.status, etagOf(changed)]).toEqual([200, '"2"']);
    expect(changed.body).toEqual({ ...RESOURCE, name: 'Ada King', version: 2 });
  });

  it.each([[undefined], ['*']])('is refused with If-Match %s: it would change what was not read', async (ifMatch) => {
    await put();
    const problem = expectProblem(await patch(ifMatch), 428, 'version_required');
    expect(problem).toMatchObject({ outcome: 'not_started', retryable: false });
    expect((await call('GET')).body).toEqual(RESOURCE);
  });

  it('is refused when somebody else was faster, and told the current version', async () => {
    await put();
    await patch('"1"');
    const stale = await patch('"1"', { body: { status: 'inactive' } });
    expect(expectProblem(stale, 412, 'version_mismatch')).toMatchObject({ outcome: 'final', retryable: false });
    expect(etagOf(stale)).toBe('"2"');
    expect((await call('GET')).body).toMatchObject({ status: 'active', version: 2 });
  });

  it('lets one of many win who have read the same version, whichever replica they ask', async () => {
    await put();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        call(
          'PATCH',
          { ifMatch: '"1"', body: { name: `Ada ${i}` } },
          '/customers/ada',
          (i % 2 ? service : replica).url,
        ),
      ),
    );
    expect(statusesOf(answers)).toEqual({ 200: 1, 412: 19 });
    const winner = answers.find(({ status }) => status === 200);
    expect((await call('GET')).body).toEqual(winner?.body);
  });

  it('loses no update of many that read again and try again', async () => {
    await put({ body: { ...ADA, name: '0' } });
    const countOn = async () => {
      for (;;) {
        const read = await call('GET');
        const name = String(Number((read.body as { name: string }).name) + 1);
        const { status } = await patch(etagOf(read), { body: { name } });
        if (status === 200) return;
      }
    };
    await Promise.all(Array.from({ length: 8 }, countOn));
    expect((await call('GET')).body).toMatchObject({ name: '8', version: 9 });
  });

  it('repeats its reply to the winner that sends it again under its key, instead of refusing it', async () => {
    await put();
    const first = await patch('"1"', { key: 'change_1' });
    const again = await patch('"1"', { key: 'change_1' });
    expect([first.status, isReplay(first), isReplay(again)]).toEqual([200, false, true]);
    expect([replyOf(again), etagOf(again)]).toEqual([replyOf(first), '"2"']);
    expect((await call('GET')).body).toMatchObject({ version: 2 });
  });

  it('refuses the winner that sends it again without a key, since it cannot know who it is', async () => {
    await put();
    expect((await patch('"1"')).status).toBe(200);
    expectProblem(await patch('"1"'), 412, 'version_mismatch');
  });

  it('changes once what is sent many times at once under one key', async () => {
    await put();
    const answers = await Promise.all(Array.from({ length: 20 }, () => patch('"1"', { key: 'change_1' })));
    expect(statusesOf(answers)).toEqual({ 200: 20 });
    expect(answers.filter((answer) => !isReplay(answer))).toHaveLength(1);
    expect((await call('GET')).body).toMatchObject({ version: 2 });
  });

  it('refuses a key that comes again with another version, since that is another change', async () => {
    await put();
    expect((await patch('"2"', { key: 'change_1' })).status).toBe(412);
    for (const url of [service.url, replica.url]) {
      const again = (ifMatch?: string) =>
        call('PATCH', { key: 'change_1', ifMatch, body: { name: 'Ada King' } }, '/customers/ada', url);
      expectProblem(await again('"1"'), 422, 'idempotency_key_reused');
      expectProblem(await again(), 428, 'version_required');
      expect((await again('"2"')).status).toBe(412);
    }
    expect((await call('GET')).body).toEqual(RESOURCE);
  });

  it('repeats a refusal under its key', async () => {
    await put();
    await patch('"1"');
    const refused = await patch('"1"', { key: 'change_1' });
    const again = await patch('"1"', { key: 'change_1' });
    expect([refused.status, again.status, isReplay(again)]).toEqual([412, 412, true]);
    expect(again.text).toBe(refused.text);
  });

  it.each([
    ['one of several', '"7", "1"', 200],
    ['with spaces around', '  "1"  ', 200],
    ['another', '"2"', 412],
    ['a weak one, which is compared strongly', 'W/"1"', 412],
    ['one that was never given', '"one"', 412],
    ['one that only counts like it', '"01"', 412],
    ['one with a comma in it', '"7,1"', 412],
    ['one beside a tag with a comma in it', '"a,b", "1"', 200],
    ['one in a list with empty elements', ', "7",, "1",', 200],
    ['only empty elements', ' , ', 400],
    ['two without a comma', '"7" "1"', 400],
    ['without quotes', '1', 400],
    ['with an open quote', '"1', 400],
    ['empty', '', 400],
  ])('reads a version in If-Match: %s', async (_, ifMatch, status) => {
    await put();
    expect((await patch(ifMatch)).status).toBe(status);
  });

  it.each([
    ['nothing', {}],
    ['an empty name', { name: '' }],
    ['null, as there is no customer without a name', { name: null }],
    ['no email', { email: 'ada' }],
    ['a status that there is not', { status: 'gone' }],
    ['a version', { version: 7 }],
    ['null, which would take a member away', { name: null }],
    ['null beside what could be changed', { name: 'Ada King', status: null }],
  ])('refuses %s, and burns no key', async (_, body) => {
    await put();
    expectProblem(await patch('"1"', { body, key: 'change_1' }), 400, 'validation_failed');
    expect((await patch('"1"', { key: 'change_1' })).status).toBe(200);
  });

  it('finds no customer where there is none', async () => {
    expect(expectProblem(await patch('"1"'), 404, 'not_found')['outcome']).toBe('not_started');
  });

  it('calls a 404 final that is recorded under a key, because the key repeats it when the customer exists', async () => {
    const missing = await patch('"1"', { key: 'change_1' });
    expect(expectProblem(missing, 404, 'not_found')['outcome']).toBe('final');
    await put();
    const again = await patch('"1"', { key: 'change_1' });
    expect([replyOf(again), isReplay(again)]).toEqual([replyOf(missing), true]);
  });
});

describe('DELETE /customers/:id', () => {
  it('says 204, and 204 again, and leaves nothing of the person', async () => {
    await put();
    for (let i = 0; i < 3; i++) expect((await call('DELETE')).status).toBe(204);
    expectProblem(await call('GET'), 404, 'not_found');
    // Nor is there a version of what is left of it.
    for (const ifMatch of ['"1"', '"2"']) {
      expectProblem(await patch(ifMatch), 404, 'not_found');
      expectProblem(await put({ ifMatch }), 412, 'version_mismatch');
    }
    expect(JSON.stringify(await rows())).not.toMatch(/Ada|example/);
  });

  it('honours If-Match, and is 204 again when it has been done', async () => {
    await put();
    expectProblem(await call('DELETE', { ifMatch: '"2"' }), 412, 'version_mismatch');
    expect((await call('DELETE', { ifMatch: '"1"' })).status).toBe(204);
    expect((await call('DELETE', { ifMatch: '"1"' })).status).toBe(204);
  });

  it('never finds a wrong version where none was meant, also when the customer is made at the same time', async () => {
    for (let round = 0; round < 20; round++) {
      const deletions = Array.from({ length: 5 }, () => [call('DELETE'), put()] as const);
      for (const [deletion, replacement] of deletions) {
        expect((await deletion).status).toBe(204);
        expect([200, 201]).toContain((await replacement).status);
      }
    }
  });

  it('lets no old version match when the customer is made anew', async () => {
    await put();
    await call('DELETE');
    const anew = await put();
    expect([anew.status, etagOf(anew)]).toEqual([201, '"3"']);
    expectProblem(await patch('"1"'), 412, 'version_mismatch');
  });

  it('deletes nothing that was made anew, when the version is said that was meant', async () => {
    await put();
    await call('DELETE', { ifMatch: '"1"' });
    await put();
    expectProblem(await call('DELETE', { ifMatch: '"1"' }), 412, 'version_mismatch');
    expect((await call('GET')).body).toEqual({ ...RESOURCE, version: 3 });
  });

  it('tells one of many that make it anew at the same time that it is new', async () => {
    await put();
    await call('DELETE');
    expect(statusesOf(await Promise.all(Array.from({ length: 20 }, () => put())))).toEqual({ 200: 19, 201: 1 });
  });
});

describe('a customer that is deleted at the same time', () => {
  it('is new to whoever puts it when the deletion has come first', async () => {
    await put();
    const elsewhere = await connect(database.url);
    await elsewhere.query('BEGIN');
    await elsewhere.query(
      'UPDATE customers SET name = NULL, email = NULL, status = NULL, version = 2, deleted_at = now()',
    );
    const anew = put();
    await until(async () => (await lockWaiters(database)) === 1);
    await elsewhere.query('COMMIT');
    await elsewhere.end();
    expect([(await anew).status, etagOf(await anew)]).toEqual([201, '"3"']);
  });

  it('is gone for whoever deletes it too, though it is made anew at once: no version was meant', async () => {
    await put();
    await call('DELETE');
    // As soon as the second deletion has found nothing.
    await database.sql(`
      CREATE FUNCTION make_anew() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF pg_trigger_depth() = 1 THEN
          UPDATE customers SET name = 'Ada', email = 'ada@example.com', status = 'active', version = 3, deleted_at = NULL;
        END IF;
        RETURN NULL;
      END $$;
      CREATE TRIGGER make_anew AFTER UPDATE ON customers FOR EACH STATEMENT EXECUTE FUNCTION make_anew()`);
    try {
      expect((await call('DELETE')).status).toBe(204);
      expect(await rows()).toMatchObject([{ version: 3, deleted_at: null }]);
    } finally {
      await database.sql('DROP FUNCTION make_anew CASCADE');
    }
  });
});

describe('the customers of two accounts', () => {
  it('are apart: neither sees, changes or deletes the other’s, and keys do not cross', async () => {
    await put();
    const theirs = { account: 'acct_b' } as const;
    expectProblem(await call('GET', theirs), 404, 'not_found');
    expectProblem(await patch('"1"', { ...theirs, key: 'change_1' }), 404, 'not_found');
    expect((await call('DELETE', theirs)).status).toBe(204);
    expect((await put({ ...theirs, body: { ...ADA, name: 'Another' } })).status).toBe(201);
    expect((await patch('"1"', { key: 'change_1' })).body).toMatchObject({ name: 'Ada King', version: 2 });
    expect((await call('GET', theirs)).body).toMatchObject({ name: 'Another', version: 1 });
  });
});
