// Goal: prove optimistic concurrency of customers: a change names the version that it read, and no update is lost.
// Method: send changes with If-Match to two replicas, one by one and at once, with keys and without, and compare versions.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Pool } from 'pg';
import { DataSource } from 'typeorm';
import { call as callUrl, type Call, etagOf, isReplay, statusesOf, TWO_ACCOUNTS } from '../support/client.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { replyOf, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { until } from '../support/waiting.js';
import { expectProblem } from '../support/wire.js';

let database: TestDatabase;
let service: TestService;
/** A second replica on the same database. */
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
  it('creates a customer with 201 and its version as ETag', async () => {
    const made = await put();
    expect([made.status, etagOf(made), made.body]).toEqual([201, '"1"', RESOURCE]);
    const read = await call('GET');
    expect([read.status, etagOf(read), read.body]).toEqual([200, '"1"', RESOURCE]);
  });

  it('replaces an existing customer with 200 and increments its version', async () => {
    await put();
    const replaced = await put({ body: { ...ADA, status: 'inactive' } });
    expect([replaced.status, etagOf(replaced)]).toEqual([200, '"2"']);
    expect(replaced.body).toEqual({ ...RESOURCE, status: 'inactive', version: 2 });
  });

  it('answers 400 to a customer id that looks like a card number, because no order could name the customer', async () => {
    const path = '/customers/4242424242424242';
    expectProblem(await call('PUT', { body: ADA }, path), 400, 'card_data_refused');
    expectProblem(await call('PATCH', { body: ADA, ifMatch: '"1"', key: 'key_1' }, path), 400, 'card_data_refused');
    expect(await rows()).toEqual([]);
    expectProblem(await call('GET', {}, path), 404, 'not_found');
  });

  it('changes nothing, not even the version, when a PUT of a customer is sent again', async () => {
    await put();
    const before = await rows();
    for (let i = 0; i < 5; i++) {
      const again = await put();
      expect([again.status, etagOf(again), again.body]).toEqual([200, '"1"', RESOURCE]);
    }
    expect(await rows()).toEqual(before);
  });

  // Adds to test/spec/double-charge: idempotent without a key, by an upsert that keeps a version.
  it('creates one customer when 20 PUTs are sent at once, and answers 201 to one of them', async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => put()));
    expect(statusesOf(answers)).toEqual({ 200: 19, 201: 1 });
    expect(answers.map(etagOf)).toEqual(answers.map(() => '"1"'));
  });

  it('replaces a customer only if If-Match names its version, and answers 412 with the current version otherwise', async () => {
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
    'creates no customer with If-Match %s, because a missing customer has no version',
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
  ])('answers 400 to a customer with a bad %s, and changes nothing: %j', async (member, body) => {
    expect(expectProblem(await put({ body }), 400, 'validation_failed')['detail']).toContain(`${member}: `);
    expect(await rows()).toEqual([]);
  });
});

describe('PATCH /customers/:id', () => {
  it('changes the named members of a customer if If-Match names its version', async () => {
    await put();
    const changed = await patch('"1"');
    expect([changed.status, etagOf(changed)]).toEqual([200, '"2"']);
    expect(changed.body).toEqual({ ...RESOURCE, name: 'Ada King', version: 2 });
  });

  it.each([[undefined], ['*']])(
    'answers 428 to a change with If-Match %s, because it names no version that the client read',
    async (ifMatch) => {
      await put();
      const problem = expectProblem(await patch(ifMatch), 428, 'version_required');
      expect(problem).toMatchObject({ outcome: 'not_started', retryable: false });
      expect((await call('GET')).body).toEqual(RESOURCE);
    },
  );

  it('answers 412 with the current version when another change was faster', async () => {
    await put();
    await patch('"1"');
    const stale = await patch('"1"', { body: { status: 'inactive' } });
    expect(expectProblem(stale, 412, 'version_mismatch')).toMatchObject({ outcome: 'final', retryable: false });
    expect(etagOf(stale)).toBe('"2"');
    expect((await call('GET')).body).toMatchObject({ status: 'active', version: 2 });
  });

  it('lets one of 20 concurrent changes of the same version win, on two replicas', async () => {
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

  it('loses no update when eight clients read and retry until they win', async () => {
    await put({ body: { ...ADA, name: '0' } });
    const incrementName = async () => {
      for (;;) {
        const read = await call('GET');
        const name = String(Number((read.body as { name: string }).name) + 1);
        const { status } = await patch(etagOf(read), { body: { name } });
        if (status === 200) return;
      }
    };
    await Promise.all(Array.from({ length: 8 }, incrementName));
    expect((await call('GET')).body).toMatchObject({ name: '8', version: 9 });
  });

  it('replays its 200 to the winning change when it is sent again with its key', async () => {
    await put();
    const first = await patch('"1"', { key: 'change_1' });
    const again = await patch('"1"', { key: 'change_1' });
    expect([first.status, isReplay(first), isReplay(again)]).toEqual([200, false, true]);
    expect([replyOf(again), etagOf(again)]).toEqual([replyOf(first), '"2"']);
    expect((await call('GET')).body).toMatchObject({ version: 2 });
  });

  it('answers 412 to the winning change when it is sent again without a key, because it cannot be recognised', async () => {
    await put();
    expect((await patch('"1"')).status).toBe(200);
    expectProblem(await patch('"1"'), 412, 'version_mismatch');
  });

  // Adds to test/spec/double-charge: a change that needs a version, which a second run would find mismatched.
  it('changes a customer once when 20 requests with one key are sent at once', async () => {
    await put();
    const answers = await Promise.all(Array.from({ length: 20 }, () => patch('"1"', { key: 'change_1' })));
    expect(statusesOf(answers)).toEqual({ 200: 20 });
    expect(answers.filter((answer) => !isReplay(answer))).toHaveLength(1);
    expect((await call('GET')).body).toMatchObject({ version: 2 });
  });

  it('answers 422 to a used key with another If-Match, because that is another change', async () => {
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

  it('replays a 412 under its key', async () => {
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
    ['another version', '"2"', 412],
    ['a weak one, which is compared strongly', 'W/"1"', 412],
    ['one that is not a number', '"one"', 412],
    ['one with a leading zero', '"01"', 412],
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
    ['null as the name', { name: null }],
    ['an email without @', { email: 'ada' }],
    ['an unknown status', { status: 'gone' }],
    ['a version', { version: 7 }],
    ['null, which would remove a member', { name: null }],
    ['null beside a good member', { name: 'Ada King', status: null }],
  ])('answers 400 to a change with %s, and leaves its key unused', async (_, body) => {
    await put();
    expectProblem(await patch('"1"', { body, key: 'change_1' }), 400, 'validation_failed');
    expect((await patch('"1"', { key: 'change_1' })).status).toBe(200);
  });

  it('answers 404 not_started to a change of a missing customer', async () => {
    expect(expectProblem(await patch('"1"'), 404, 'not_found')['outcome']).toBe('not_started');
  });

  it('answers 404 final to a change of a missing customer with a key, because the key replays it even after a PUT', async () => {
    const missing = await patch('"1"', { key: 'change_1' });
    expect(expectProblem(missing, 404, 'not_found')['outcome']).toBe('final');
    await put();
    const again = await patch('"1"', { key: 'change_1' });
    expect([replyOf(again), isReplay(again)]).toEqual([replyOf(missing), true]);
  });
});

describe('DELETE /customers/:id', () => {
  it('answers 204 to a deletion and to its repeats, and keeps no personal data', async () => {
    await put();
    for (let i = 0; i < 3; i++) expect((await call('DELETE')).status).toBe(204);
    expectProblem(await call('GET'), 404, 'not_found');
    // The row that remains has no version that could match.
    for (const ifMatch of ['"1"', '"2"']) {
      expectProblem(await patch(ifMatch), 404, 'not_found');
      expectProblem(await put({ ifMatch }), 412, 'version_mismatch');
    }
    expect(JSON.stringify(await rows())).not.toMatch(/Ada|example/);
  });

  it('deletes a customer in one transaction, and takes a second one only to wait for the standbys of a repeat', async () => {
    const { master } = service.nest.get(DataSource).driver as unknown as { master: Pool };
    let transactions = 0;
    const count = () => void transactions++;
    const transactionsOf = async (method: string, options: Call) => {
      transactions = 0;
      await call(method, options);
      return transactions;
    };
    await put();
    master.on('acquire', count);
    expect(await transactionsOf('DELETE', {})).toBe(1);
    expect(await transactionsOf('DELETE', {})).toBe(2);
    expect(await transactionsOf('PUT', { body: ADA })).toBe(1);
    expect(await transactionsOf('DELETE', { ifMatch: '"3"' })).toBe(1);
    master.off('acquire', count);
  });

  it('deletes a customer only if If-Match names its version, and answers 204 to a repeat', async () => {
    await put();
    expectProblem(await call('DELETE', { ifMatch: '"2"' }), 412, 'version_mismatch');
    expect((await call('DELETE', { ifMatch: '"1"' })).status).toBe(204);
    expect((await call('DELETE', { ifMatch: '"1"' })).status).toBe(204);
  });

  it('answers 204 to every deletion without If-Match while the customer is being recreated', async () => {
    for (let round = 0; round < 20; round++) {
      const deletions = Array.from({ length: 5 }, () => [call('DELETE'), put()] as const);
      for (const [deletion, replacement] of deletions) {
        expect((await deletion).status).toBe(204);
        expect([200, 201]).toContain((await replacement).status);
      }
    }
  });

  it('recreates a deleted customer with a version that no old If-Match matches', async () => {
    await put();
    await call('DELETE');
    const recreated = await put();
    expect([recreated.status, etagOf(recreated)]).toEqual([201, '"3"']);
    expectProblem(await patch('"1"'), 412, 'version_mismatch');
  });

  it('does not delete a recreated customer if If-Match names the version that was deleted', async () => {
    await put();
    await call('DELETE', { ifMatch: '"1"' });
    await put();
    expectProblem(await call('DELETE', { ifMatch: '"1"' }), 412, 'version_mismatch');
    expect((await call('GET')).body).toEqual({ ...RESOURCE, version: 3 });
  });

  it('answers 201 to one of 20 concurrent PUTs that recreate a deleted customer', async () => {
    await put();
    await call('DELETE');
    expect(statusesOf(await Promise.all(Array.from({ length: 20 }, () => put())))).toEqual({ 200: 19, 201: 1 });
  });
});

describe('a customer that is deleted at the same time', () => {
  it('answers 201 to a PUT that waited for a deletion', async () => {
    await put();
    const elsewhere = await connect(database.url);
    await elsewhere.query('BEGIN');
    await elsewhere.query(
      'UPDATE customers SET name = NULL, email = NULL, status = NULL, version = 2, deleted_at = now()',
    );
    const recreated = put();
    await until(async () => (await lockWaiters(database)) === 1);
    await elsewhere.query('COMMIT');
    await elsewhere.end();
    expect([(await recreated).status, etagOf(await recreated)]).toEqual([201, '"3"']);
  });

  it('answers 204 to a second deletion without If-Match although the customer is recreated during it', async () => {
    await put();
    await call('DELETE');
    // The trigger recreates the customer when the statement of the second deletion has found nothing.
    await database.sql(`
      CREATE FUNCTION recreate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF pg_trigger_depth() = 1 THEN
          UPDATE customers SET name = 'Ada', email = 'ada@example.com', status = 'active', version = 3, deleted_at = NULL;
        END IF;
        RETURN NULL;
      END $$;
      CREATE TRIGGER recreate AFTER UPDATE ON customers FOR EACH STATEMENT EXECUTE FUNCTION recreate()`);
    try {
      expect((await call('DELETE')).status).toBe(204);
      expect(await rows()).toMatchObject([{ version: 3, deleted_at: null }]);
    } finally {
      await database.sql('DROP FUNCTION recreate CASCADE');
    }
  });
});

describe('the customers of two accounts', () => {
  it('keeps the customers and keys of two accounts apart', async () => {
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
