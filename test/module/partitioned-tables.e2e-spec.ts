// Goal: prove that every statement works on tables that are partitioned by account, where rows of two partitions may share a ctid.
// Method: replace the tables by partitioned ones, fill all partitions alike, then charge and sweep.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Sweeper } from '../../src/idempotency/index.js';
import { MessageSweeper } from '../../src/messaging/message-sweeper.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';

const ACCOUNTS = Array.from({ length: 12 }, (_, number) => `acct_${number}`);
const PARTITIONS = 4;

let database: TestDatabase;
let service: TestService;

/** Replaces an empty table by one that is partitioned by account, as the comment on account_id in its migration allows. */
async function partition(table: string, primaryKey: string): Promise<void> {
  const indexes = await database.sql<{ definition: string }>(
    `SELECT pg_get_indexdef(indexrelid) AS definition FROM pg_index WHERE indrelid = $1::regclass AND NOT indisprimary`,
    [table],
  );
  await database.sql(`
    CREATE TABLE partitioned (LIKE ${table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS, PRIMARY KEY (${primaryKey}))
    PARTITION BY HASH (account_id)`);
  for (let remainder = 0; remainder < PARTITIONS; remainder++) {
    await database.sql(`
      CREATE TABLE ${table}_${remainder} PARTITION OF partitioned
      FOR VALUES WITH (MODULUS ${PARTITIONS}, REMAINDER ${remainder})`);
  }
  await database.sql(`DROP TABLE ${table}; ALTER TABLE partitioned RENAME TO ${table}`);
  for (const { definition } of indexes) await database.sql(definition.replace(' ON ONLY ', ' ON '));
}

/** Names of the rows whose ids begin with `letter`: `f` for fresh rows, `o` for old ones. */
const left = async (table: string, id: string, letter: string) =>
  (
    await database.sql<{ name: string }>(
      `SELECT account_id || ' ' || ${id} AS name FROM ${table} WHERE ${id} LIKE $1 || '%' ORDER BY 1`,
      [letter],
    )
  ).map(({ name }) => name);

beforeAll(async () => {
  database = await createDatabase();
  await partition('processed_requests', 'account_id, idempotency_key');
  await partition('outbox', 'account_id, id');
  await partition('processed_messages', 'account_id, consumer, message_id');
  service = await startService(database.url, {
    API_KEYS: ACCOUNTS.map((account) => `${account}:sk_${account}`).join(),
  });
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

/** Five old rows in every second account and five fresh ones in each other account, so that rows of several partitions share a ctid. */
const ROWS = `
  (SELECT account, row, CASE WHEN number % 2 = 0 THEN 'old_' ELSE 'fresh_' END || row AS id,
          CASE WHEN number % 2 = 0 THEN now() - interval '1 year' ELSE now() END AS at
   FROM unnest($1::text[]) WITH ORDINALITY AS accounts (account, number), generate_series(1, 5) AS row) AS rows`;

async function fillKeys(): Promise<void> {
  await database.sql('TRUNCATE processed_requests');
  await database.sql(
    `INSERT INTO processed_requests
     SELECT account, id, gen_random_uuid(), 'o', sha256(''), gen_random_uuid(), NULL, 200, '{}', '', at, at FROM ${ROWS}`,
    [ACCOUNTS],
  );
}

describe('tables that are partitioned by account', () => {
  it('completes a request in its own partition, although other partitions have keys with the same ctid', async () => {
    await fillKeys();
    const replies: string[] = [];
    for (const round of [1, 2]) {
      for (const account of ACCOUNTS) {
        const response = await service.charge('key', undefined, { authorization: `Bearer sk_${account}` });
        expect([round, response.status]).toEqual([round, 200]);
        replies.push(response.text);
      }
    }
    expect(replies.slice(ACCOUNTS.length)).toEqual(replies.slice(0, ACCOUNTS.length));
    expect(await database.sql('SELECT count(*)::int AS captures FROM bank.captures')).toEqual([
      { captures: ACCOUNTS.length },
    ]);
  });

  it('sweeps expired keys, and no fresh key with the same ctid in another partition', async () => {
    await fillKeys();
    const fresh = await left('processed_requests', 'idempotency_key', 'f');
    expect(await service.nest.get(Sweeper).runOnce()).toBe(5 * (ACCOUNTS.length / 2));
    expect(await left('processed_requests', 'idempotency_key', 'f')).toEqual(fresh);
    expect(await left('processed_requests', 'idempotency_key', 'o')).toEqual([]);
  });

  it('sweeps old messages, and no fresh message with the same ctid in another partition', async () => {
    await database.sql('TRUNCATE outbox, processed_messages');
    await database.sql(
      `INSERT INTO outbox (account_id, id, type, data, created_at, available_at, published_at)
       SELECT account, id, 'marble.ignored', '{}', at, at, at FROM ${ROWS}`,
      [ACCOUNTS],
    );
    await database.sql(`INSERT INTO processed_messages SELECT account, 'a consumer', id, at FROM ${ROWS}`, [ACCOUNTS]);
    const fresh = [await left('outbox', 'id', 'f'), await left('processed_messages', 'message_id', 'f')];
    expect(await service.nest.get(MessageSweeper).runOnce()).toBe(2 * 5 * (ACCOUNTS.length / 2));
    expect([await left('outbox', 'id', 'f'), await left('processed_messages', 'message_id', 'f')]).toEqual(fresh);
    expect([await left('outbox', 'id', 'o'), await left('processed_messages', 'message_id', 'o')]).toEqual([[], []]);
  });
});
