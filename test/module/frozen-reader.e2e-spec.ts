// Goal: prove that a process that stops reading from PostgreSQL holds no locks for long, however large the replies are.
// Method: stop a service process with SIGSTOP, or pause a socket, while PostgreSQL sends megabytes, and use the locked keys elsewhere.
import { createConnection, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/database/data-source.js';
import { canonicalRequest, fingerprintOf } from '../../src/idempotency/http/fingerprint.js';
import { GroupStore } from '../../src/idempotency/commit/group.store.js';
import { RequestIdentity } from '../../src/idempotency/request/request-identity.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { killAll, type ServiceProcess, spawnService } from '../support/process.js';
import { type PostgresProxy, startProxy } from '../../harness/proxy.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { until } from '../support/waiting.js';

let database: TestDatabase;
let holder: Client;
beforeAll(async () => {
  database = await createDatabase();
  holder = await connect(database.url);
});
beforeEach(() => reset(database));
afterAll(async () => {
  await holder?.end();
  await database?.drop();
});

/** Inserts a completed charge whose reply has a body of `bytes` bytes. */
const recordLarge = (account: string, key: string, bytes: number) =>
  database.sql(
    `INSERT INTO processed_requests
     VALUES ($1, $2, gen_random_uuid(), 'POST /charges', $3, gen_random_uuid(), NULL, 200, '{"content-type": "application/json"}',
             to_json(repeat('x', $4)), now(), now())`,
    [account, key, fingerprintOf(canonicalRequest('POST /charges', { path: {}, query: {} }, CHARGE)), bytes],
  );

describe('a process that is frozen while PostgreSQL answers its claims', () => {
  const ACCOUNTS = { API_KEYS: 'acct_a:sk_a,acct_b:sk_b' };
  const QUIET = { RELAY_INTERVAL_MS: '3600000', RECOVERY_INTERVAL_MS: '3600000', IDEMPOTENCY_SWEEP_CRON: '0 0 1 1 *' };
  /** Longer than the test needs to gather the claims. TCP's own timeout is off, because the limit under test must not need it. */
  const LIMITS = 'lock_timeout=60000&statement_timeout=60000&query_timeout=90000&options=-c%20tcp_user_timeout%3D0';
  const LARGE = { replies: 16, bytes: 4_000_000 };
  afterEach(killAll);

  const body = JSON.stringify(CHARGE);
  const headersOf = (account: 'a' | 'b', key: string) => ({
    authorization: `Bearer sk_${account}`,
    'content-type': 'application/json',
    'idempotency-key': key,
  });
  const charge = ({ url }: ServiceProcess, account: 'a' | 'b', key: string) =>
    fetch(`${url}/charges`, { method: 'POST', headers: headersOf(account, key), body });
  const textOf = (account: 'a' | 'b', key: string) => {
    const headers = Object.entries({ ...headersOf(account, key), host: 'frozen', 'content-length': body.length });
    return `POST /charges HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
  };

  it('releases the new keys of another account when a frozen process was reading large replies in the same commit', async () => {
    const [frozen, other] = await Promise.all([
      spawnService(`${database.url}?${LIMITS}`, { ...QUIET, ...ACCOUNTS }),
      spawnService(database.url, { ...QUIET, ...ACCOUNTS }),
    ]);
    const large = Array.from({ length: LARGE.replies }, (_, i) => `large-${i}`);
    const fresh = Array.from({ length: LARGE.replies / 2 }, (_, i) => `fresh-${i}`);
    for (const key of large) await recordLarge('acct_a', key, LARGE.bytes);
    // Blocks the claims until the process is frozen.
    await holder.query('BEGIN; LOCK TABLE processed_requests IN ACCESS EXCLUSIVE MODE');
    // One packet, so that all requests arrive in one turn of the event loop and share a group.
    const requests = [...large.map((key) => textOf('a', key)), ...fresh.map((key) => textOf('b', key))];
    const connection = createConnection(Number(new URL(frozen.url).port), '127.0.0.1').on('error', () => undefined);
    connection.write(requests.join(''));
    await until(async () => (await lockWaiters(database)) > 0);
    frozen.signal('SIGSTOP');
    await holder.query('ROLLBACK');
    await Promise.all(fresh.map((key) => until(async () => (await charge(other, 'b', key)).status === 200)));
    frozen.signal('SIGKILL');
    connection.destroy();
  });
});

describe('a transaction whose client does not read', () => {
  it('ends a transaction whose client does not read, although PostgreSQL ignores its own timeouts while it sends', async () => {
    // The client's own limit is long here, because a frozen client could not apply it.
    const dataSource = await new DataSource(dataSourceOptions(`${database.url}?query_timeout=90000`)).initialize();
    const runner = dataSource.createQueryRunner();
    const client = (await runner.connect()) as Client & { connection: { stream: Socket } };
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await client.query('BEGIN');
    await client.query('SELECT pg_advisory_xact_lock(1)');
    const answer = client.query(`SELECT repeat('x', 1000000) FROM generate_series(1, 40)`).catch(() => undefined);
    const { stream } = client.connection;
    stream.pause();
    const isThere = async () => (await database.sql(`SELECT FROM pg_stat_activity WHERE pid = ${rows[0]?.pid}`)).length;
    await until(async () => (await isThere()) === 0);
    const [lock] = await database.sql('SELECT pg_try_advisory_lock(1) AS is_free');
    expect(lock).toEqual({ is_free: true });
    stream.destroy();
    await answer;
    await dataSource.destroy();
  });
});

describe('a recorded reply that is too large to be read with its claim', () => {
  let proxy: PostgresProxy;
  let service: TestService;
  beforeAll(async () => {
    proxy = await startProxy(database.url);
    service = await startService(proxy.url);
  });
  afterAll(async () => {
    await service?.stop();
    await proxy?.close();
  });

  it.each([
    ['with its claim, up to 64 KiB', 60_000, 3],
    ['in a statement after the claim, above 64 KiB', 70_000, 4],
  ])('reads a recorded reply %s, and replays it unchanged', async (_, bytes, statements) => {
    await recordLarge('acct_demo', 'large', bytes);
    await service.http.get('/charges');
    const before = proxy.statements;
    const { status, text, headers } = await service.charge('large');
    // BEGIN, claim, COMMIT. The fourth statement reads the reply, if it did not come with the claim.
    expect(proxy.statements - before).toBe(statements);
    expect([status, headers['idempotent-replayed'], text]).toEqual([200, 'true', JSON.stringify('x'.repeat(bytes))]);
  });

  it('claims again if a large reply was deleted between its claim and its reading', async () => {
    await recordLarge('acct_demo', 'large', 70_000);
    const [row] = await database.sql<{ lock_token: string }>('SELECT lock_token FROM processed_requests');
    const expiry = { epochMs: Infinity, notBefore: Infinity };
    const large = { kind: 'large-reply', status: 200, lockToken: row?.lock_token ?? '', expiry } as const;
    const store = service.nest.get(GroupStore);
    const identity = new RequestIdentity('acct_demo', 'large', 'POST /charges', Buffer.alloc(0));
    expect(await store.readReply(identity, large)).toMatchObject({ kind: 'completed', lockToken: row?.lock_token });
    // The sweep deletes the row, and another request with the key is completed.
    await database.sql('DELETE FROM processed_requests');
    await recordLarge('acct_demo', 'large', 80_000);
    expect(await store.readReply(identity, large)).toEqual({ kind: 'in_progress' });
  });

  it('answers 503 unknown if the database becomes unavailable before a large reply is read, because the request is completed', async () => {
    await recordLarge('acct_demo', 'large', 70_000);
    const store = service.nest.get(GroupStore);
    store.readReply = () => Promise.reject(new Error('Connection terminated unexpectedly'));
    const answer = await service.charge('large');
    delete (store as Partial<GroupStore>).readReply;
    expect({ status: answer.status, ...(answer.body as object) }).toMatchObject({
      status: 503,
      code: 'database_unavailable',
      outcome: 'unknown',
    });
  });
});
