// Goal: prove what the guard of a cell lets pass and refuses, and what clients see, while an account moves away and after it has moved.
// Method: install the guard in the database of a running service, and take the steps of a move by hand. `npm run test:cells` moves accounts.
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { type AccountTable, accountTables, CONSUMERS } from '../../deploy/cells/move/account-tables.js';
import { CellDatabase } from '../../deploy/cells/move/cell-database.js';
import { clean } from '../../deploy/cells/move/clean.js';
import {
  close,
  handOver,
  installGuard,
  reopen,
  unwatch,
  watchAtHome,
  watchAway,
} from '../../deploy/cells/move/guard.js';
import { Router } from '../../deploy/cells/move/router.js';
import { inWords, unfinished } from '../../deploy/cells/move/unfinished.js';
import { Sweeper } from '../../src/idempotency/index.js';
import { type Consumer, Consumers, Inbox, type Message, Outbox, Relay } from '../../src/messaging/index.js';
import { call, type Call, isReplay, TWO_ACCOUNTS } from '../support/client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { holdAnswer, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { expectProblem } from '../support/wire.js';

const ACCOUNT = 'acct_a';
/** Longer than a test. */
const LONG_MS = 600_000;
const CHARGE = { amount: 1999, currency: 'eur' };
const ORDER = { order_id: 'order_1', items: [{ item_id: 'beans', quantity: 1, unit_amount: 100 }] };

let database: TestDatabase;
let cell: CellDatabase;
let tables: AccountTable[];
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  cell = new CellDatabase('cell1', database.url, database.url);
  tables = await accountTables(cell);
  await installGuard(cell);
  service = await startService(database.url, TWO_ACCOUNTS);
});
beforeEach(async () => {
  await unwatch(cell, tables, ACCOUNT);
  await reset(database);
  await watchAtHome(cell, tables, ACCOUNT);
});
afterAll(async () => {
  await service?.stop();
  await cell?.end();
  await database?.drop();
});

const send = (method: string, path: string, options: Call = {}) => call(service.url, method, path, options);
const charge = (key: string, options: Call = {}) => send('POST', '/charges', { key, body: CHARGE, ...options });
const moveAway = async () => {
  await close(cell, ACCOUNT, LONG_MS);
  expect(await handOver(cell, ACCOUNT, 'cell2', () => Promise.resolve(true))).toBe(true);
};

it('knows every table with rows of accounts and every consumer of the service', () => {
  expect(tables.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      'processed_requests',
      'outbox',
      'processed_messages',
      'charges',
      'bank.captures',
      'orders',
      'inventory',
      'customers',
    ]),
  );
  const consumers = service.nest.get(Consumers).all();
  expect(Object.keys(CONSUMERS).sort()).toEqual(consumers.map(({ name }) => name).sort());
});

it('changes nothing for an account that is watched in the cell where it lives', async () => {
  expect((await charge('key_1')).status).toBe(200);
  expect((await send('PUT', '/inventory/beans', { body: { stock: 5 } })).status).toBe(201);
  expect((await send('POST', '/orders', { body: ORDER })).status).toBe(200);
  expect((await send('DELETE', '/inventory/beans')).status).toBe(204);
});

describe('an account that is closed for a move', () => {
  it('answers 503 account_moving, not_started to a new charge, and charges once it is open again', async () => {
    await close(cell, ACCOUNT, LONG_MS);
    const refused = await charge('key_1');
    expect(expectProblem(refused, 503, 'account_moving')).toMatchObject({ outcome: 'not_started', retryable: true });
    expect(refused.headers).toMatchObject({ 'retry-after': '1' });
    await reopen(cell, ACCOUNT);
    const charged = await charge('key_1');
    expect([charged.status, isReplay(charged)]).toEqual([200, false]);
  });

  it('opens by itself when its time has ended, because the move may have been killed', async () => {
    await close(cell, ACCOUNT, 0);
    expect((await charge('key_1')).status).toBe(200);
    expect(await handOver(cell, ACCOUNT, 'cell2', () => Promise.resolve(true))).toBe(false);
    expect((await charge('key_2')).status).toBe(200);
  });

  it('finishes a charge that has begun before the account was closed', async () => {
    const answer = holdAnswer(service);
    const charging = charge('key_1');
    await answer.reached.given;
    await close(cell, ACCOUNT, LONG_MS);
    answer.open();
    expect((await charging).status).toBe(200);
  });

  it('replays the reply to a charge that was made before', async () => {
    const first = await charge('key_1');
    await close(cell, ACCOUNT, LONG_MS);
    const again = await charge('key_1');
    expect([again.status, again.text, isReplay(again)]).toEqual([200, first.text, true]);
  });

  it('refuses orders, stock and customers, with or without a key, and serves reads', async () => {
    await send('PUT', '/inventory/beans', { body: { stock: 5 } });
    await close(cell, ACCOUNT, LONG_MS);
    const customer = { name: 'Ada', email: 'ada@example.com', status: 'active' };
    for (const refused of [
      await send('POST', '/orders', { body: ORDER }),
      await send('POST', '/orders', { key: 'key_1', body: ORDER }),
      await send('PUT', '/inventory/beans', { body: { stock: 6 } }),
      await send('DELETE', '/inventory/beans'),
      await send('PUT', '/customers/ada', { body: customer }),
    ]) {
      expectProblem(refused, 503, 'account_moving');
      expect(refused.body).toMatchObject({ outcome: 'not_started' });
    }
    expect((await send('GET', '/inventory/beans')).body).toMatchObject({ stock: 5 });
  });

  it('serves other accounts, also if their charges share a commit with a refused one', async () => {
    await close(cell, ACCOUNT, LONG_MS);
    const own = Array.from({ length: 5 }, (_, i) => charge(`key_${i}`));
    const others = Array.from({ length: 20 }, (_, i) => charge(`key_${i}`, { account: 'acct_b' }));
    expect((await Promise.all(own)).map(({ status }) => status)).toEqual(Array(5).fill(503));
    expect((await Promise.all(others)).map(({ status }) => status)).toEqual(Array(20).fill(200));
  });
});

describe('an account that has been handed over', () => {
  it('answers 503 account_moving, not_started to a charge, and leaves nothing', async () => {
    await moveAway();
    const problem = expectProblem(await charge('key_1'), 503, 'account_moving');
    expect(problem).toMatchObject({ outcome: 'not_started', retryable: true });
    expect(await database.sql('SELECT FROM processed_requests')).toEqual([]);
  });

  it('answers unknown to a charge that was claimed before, because the new cell may have finished it', async () => {
    const answer = holdAnswer(service);
    const charging = charge('key_1');
    await answer.reached.given;
    await moveAway();
    answer.open();
    expect(expectProblem(await charging, 503, 'account_moving')).toMatchObject({ outcome: 'unknown', retryable: true });
  });

  it('is not handed over while it has something unfinished', async () => {
    await close(cell, ACCOUNT, LONG_MS);
    expect(await handOver(cell, ACCOUNT, 'cell2', () => Promise.resolve(false))).toBe(false);
    await reopen(cell, ACCOUNT);
    expect((await charge('key_1')).status).toBe(200);
  });

  it('keeps its expired keys when a sweep deletes those of other accounts', async () => {
    await charge('key_1');
    await charge('key_1', { account: 'acct_b' });
    await database.sql(`UPDATE processed_requests SET created_at = created_at - interval '2 days'`);
    await moveAway();
    await service.nest.get(Sweeper).runOnce();
    expect(await database.sql('SELECT account_id FROM processed_requests')).toEqual([{ account_id: ACCOUNT }]);
  });

  it('counts a message that a broker delivers again as processed, and does not apply it, until the account is on its way back', async () => {
    await charge('key_1');
    await service.nest.get(Outbox, { strict: false }).releaseFresh(1);
    await service.nest.get(Relay, { strict: false }).runOnce();
    const [row] = await database.sql<{ id: string; type: string; data: object; created_at: Date }>(
      'SELECT * FROM outbox',
    );
    const { id = '', type = '', data, created_at: createdAt = new Date() } = row ?? {};
    const message: Message = { accountId: ACCOUNT, id, type, data, createdAt };
    const balance = service.nest.get(Consumers).find('balance') as Consumer;
    const deliver = () => service.nest.get(Inbox, { strict: false }).deliver(balance, [message]);
    expect(await database.sql('SELECT consumer FROM processed_messages')).toEqual([{ consumer: 'balance' }]);
    await moveAway();
    await clean(cell, tables, ACCOUNT, () => undefined);
    expect(await deliver()).toEqual(['processed']);
    expect(await database.sql('SELECT FROM processed_messages UNION ALL SELECT FROM balances')).toEqual([]);
    await watchAway(cell, tables, ACCOUNT);
    expect(await deliver()).toEqual(['failed']);
  });

  it('keeps rows that arrive by replication from the workers, until they are finished', async () => {
    const [row] = await database
      .sql<{ locked_until: number; available_at: number }>(
        `
      BEGIN; SET LOCAL session_replication_role = replica;
      INSERT INTO processed_requests (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
      VALUES ('${ACCOUNT}', 'key_1', gen_random_uuid(), 'POST /charges', sha256('a'), gen_random_uuid(), now(), now());
      INSERT INTO outbox VALUES ('${ACCOUNT}', 'message', 'charge.succeeded', '{}', now(), NULL);
      COMMIT`,
      )
      .then(() => database.sql('SELECT locked_until, available_at FROM processed_requests, outbox'));
    expect(row).toEqual({ locked_until: Infinity, available_at: Infinity });
  });
});

it('leaves the events of Stripe alone that wait for a charge, in every stage of a move, because every cell receives every event', async () => {
  let events = 0;
  const keep = () =>
    database.sql(
      `INSERT INTO unmatched_events VALUES ('${ACCOUNT}', 'evt_' || $1::integer, 'ch_1', 'pi_1', '{}', now())`,
      [++events],
    );
  expect(tables.map(({ name }) => name)).not.toContain('unmatched_events');
  await keep();
  await moveAway();
  await keep();
  await clean(cell, tables, ACCOUNT, () => undefined);
  await watchAway(cell, tables, ACCOUNT);
  await keep();
  expect(await database.sql('SELECT FROM unmatched_events')).toHaveLength(3);
});

it('names the consumer that has not processed a message, because a new consumer never gets older messages', async () => {
  await database.sql(
    `INSERT INTO outbox VALUES ('${ACCOUNT}', 'message', 'charge.succeeded', '{}', now(), now(), 0, now())`,
  );
  const left = await unfinished(cell, ACCOUNT, { olderThanSeconds: 0, publishedWithinSeconds: 60 });
  expect(inWords(left)).toBe(
    '0 unfinished requests, 0 unpublished messages, 1 messages that a consumer has not processed (balance)',
  );
});

it('fails if HAProxy does not answer, because nothing else would end the wait', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'payments-router-'));
  const haproxy = createServer().listen(join(directory, 'socket'));
  try {
    await once(haproxy, 'listening');
    const map = join(directory, 'cells.map');
    await writeFile(map, `${ACCOUNT} cell1\n`);
    const router = new Router({ map, sockets: [join(directory, 'socket')] });
    await expect(router.send(ACCOUNT, 'cell2')).rejects.toThrow('no answer in 5 s');
    expect(await router.cellOf(ACCOUNT)).toBe('cell2');
  } finally {
    haproxy.close();
    await rm(directory, { recursive: true });
  }
});
