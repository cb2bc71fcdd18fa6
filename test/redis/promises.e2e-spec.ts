// Goal: show what `SET … NX EX` cannot promise, and the one change of each case that would help, if there is one.
// Method: break real servers, and count the claims that are granted a second time or the charges that are made a second time.
import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { startLine } from '../../harness/line.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import type { RedisServer } from '../../harness/redis.js';
import { MISSING_REDIS, startRedis } from '../support/redis.js';
import { until } from '../support/waiting.js';

type Client = Awaited<ReturnType<RedisServer['connect']>>;

const DAY = { type: 'EX', value: 86_400 } as const;
/** Short, so that the test need not wait. Long enough for the holder to read it. */
const SHORT_LEASE = { type: 'PX', value: 100 } as const;
/** How long `WAIT` waits for replicas that cannot answer. */
const REPLICATION_MS = 200;

const namesOf = (kind: string, count: number) => Array.from({ length: count }, (_, i) => `${kind}_${i}`);

/** Claims each name, as a client that wants to do something once. Returns the names that were granted. */
async function claimAll(client: Client, names: readonly string[]): Promise<string[]> {
  const answers = await Promise.all(
    names.map((name) => client.set(name, 'done', { condition: 'NX', expiration: DAY })),
  );
  return names.filter((_, i) => answers[i] === 'OK');
}

let servers: RedisServer[];
let clients: Client[];
beforeEach(() => {
  servers = [];
  clients = [];
});
afterEach(async () => {
  clients.filter(({ isOpen }) => isOpen).forEach((client) => client.destroy());
  await Promise.all(servers.map((server) => server.stop()));
});

async function start(...settings: string[]): Promise<RedisServer> {
  const server = await startRedis(...settings);
  servers.push(server);
  return server;
}
async function connect(server: RedisServer): Promise<Client> {
  const client = await server.connect();
  clients.push(client);
  return client;
}

(MISSING_REDIS ? describe.skip : describe)('SET … NX EX', () => {
  it('grants claims a second time after a failover if the link to the replica was cut, although each SET answered OK', async () => {
    const [primary, replica] = [await start(), await start()];
    const line = await startLine(primary.port);
    const [first, second] = [await connect(primary), await connect(replica)];
    try {
      await second.sendCommand(['REPLICAOF', '127.0.0.1', String(line.port)]);
      await until(async () => (await second.info('replication')).includes('master_link_status:up'));
      const [before, after] = [namesOf('before', 100), namesOf('after', 500)];
      expect(await claimAll(first, before)).toEqual(before);
      expect(await first.wait(1, 0)).toBe(1);

      line.cut();
      expect(await claimAll(first, after)).toEqual(after);
      // WAIT reports the loss, but only after each SET has answered OK, and it undoes nothing.
      expect(await first.wait(1, REPLICATION_MS)).toBe(0);

      await primary.kill();
      await second.sendCommand(['REPLICAOF', 'NO', 'ONE']);
      expect(await claimAll(second, [...before, ...after])).toEqual(after);
    } finally {
      await line.close();
    }
  });

  it('grants claims a second time after memory ran out if keys may be evicted, without an error', async () => {
    const client = await connect(await start('--maxmemory', '3mb', '--maxmemory-policy', 'volatile-lru'));
    const oldest = namesOf('old', 2_000);
    expect(await claimAll(client, oldest)).toEqual(oldest);
    const later = namesOf('later', 20_000);
    expect(await claimAll(client, later)).toEqual(later);
    expect((await claimAll(client, oldest)).length).toBeGreaterThan(0);
  });

  it('refuses claims with an error after memory ran out if no key may be evicted, so that none is granted twice', async () => {
    const client = await connect(await start('--maxmemory', '3mb', '--maxmemory-policy', 'noeviction'));
    const oldest = namesOf('old', 2_000);
    expect(await claimAll(client, oldest)).toEqual(oldest);
    await expect(claimAll(client, namesOf('later', 20_000))).rejects.toThrow(/OOM/);
    await expect(client.set('one more', 'done')).rejects.toThrow(/OOM/);
    expect(await client.exists(oldest)).toBe(oldest.length);
  });

  it('forgets all claims when the server is killed and stores nothing on disk', async () => {
    const server = await start();
    const names = namesOf('claim', 500);
    await claimAll(await connect(server), names);
    await server.kill();
    await server.restart();
    expect(await claimAll(await connect(server), names)).toEqual(names);
  });

  it('keeps all claims when the server is killed and appends to a file, so killing the server shows no loss', async () => {
    // With `everysec` only a crash of the machine loses claims, because the kernel keeps what a killed process has written.
    const server = await start('--appendonly', 'yes', '--appendfsync', 'everysec');
    const names = namesOf('claim', 500);
    await claimAll(await connect(server), names);
    await server.kill();
    await server.restart();
    expect(await claimAll(await connect(server), names)).toEqual([]);
  });
});

(MISSING_REDIS ? describe.skip : describe)('a key in Redis for an effect in PostgreSQL', () => {
  let database: TestDatabase;
  let client: Client;
  beforeAll(async () => {
    database = await createDatabase({ empty: true });
    await database.sql('CREATE TABLE charged (payment text, token bigint)');
    await database.sql('CREATE TABLE fences (payment text PRIMARY KEY, token bigint)');
    await database.sql('CREATE TABLE keys (payment text PRIMARY KEY)');
  });
  beforeEach(async () => {
    await database.sql('TRUNCATE charged, fences, keys');
    client = await connect(await start());
  });
  afterAll(() => database?.drop());

  const charge = (payment: string, token = 0) => database.sql('INSERT INTO charged VALUES ($1, $2)', [payment, token]);
  const charges = async () => (await database.sql('SELECT FROM charged')).length;

  /** Takes a lease. Returns whether the caller holds it now. */
  const take = async (payment: string) =>
    (await client.set(payment, randomUUID(), { condition: 'NX', expiration: SHORT_LEASE })) === 'OK';
  const untilExpired = (payment: string) => until(async () => (await client.exists(payment)) === 0);

  it('makes an effect twice if the first holder pauses for longer than its lease', async () => {
    expect(await take('payment_1')).toBe(true);
    // The first holder pauses here: garbage collection, a slow network, a frozen virtual machine.
    await untilExpired('payment_1');
    expect(await take('payment_1')).toBe(true);
    await charge('payment_1');
    // The first holder goes on. It believes that it still holds the lease, and no longer asks Redis.
    await charge('payment_1');
    expect(await charges()).toBe(2);
  });

  it('makes an effect once, by the second holder, if PostgreSQL checks a token that grows with each lease', async () => {
    const chargeUnder = (token: number) => database.sql(CHARGE_UNLESS_STALE, ['payment_1', token]);
    expect(await take('payment_1')).toBe(true);
    const first = await client.incr('token');
    await untilExpired('payment_1');
    expect(await take('payment_1')).toBe(true);
    const second = await client.incr('token');
    await chargeUnder(second);
    await chargeUnder(first);
    expect(await charges()).toBe(1);
  });

  /** A crash does not undo earlier steps, so an attempt that crashes only leaves out its last step. */
  type Crash = 'no crash' | 'crash before the last step';

  it('makes an effect twice if the process crashes between COMMIT and SET', async () => {
    const attempt = async (crash: Crash) => {
      if ((await client.get('payment_1')) === 'done') return;
      await charge('payment_1');
      if (crash === 'no crash') await client.set('payment_1', 'done', { expiration: DAY });
    };
    await attempt('crash before the last step');
    await attempt('no crash');
    expect(await charges()).toBe(2);
  });

  it('never makes an effect if the process crashes between SET and COMMIT, because every retry finds the key', async () => {
    const attempt = async (crash: Crash) => {
      if ((await claimAll(client, ['payment_1'])).length === 0) return;
      if (crash === 'no crash') await charge('payment_1');
    };
    await attempt('crash before the last step');
    await attempt('no crash');
    expect(await charges()).toBe(0);
  });

  it('makes an effect once in spite of a crash if key and effect are one commit in PostgreSQL', async () => {
    const attempt = async (crash: Crash) => {
      await database.sql('BEGIN');
      const claimed = await database.sql('INSERT INTO keys VALUES ($1) ON CONFLICT DO NOTHING RETURNING payment', [
        'payment_1',
      ]);
      if (claimed.length > 0) await charge('payment_1');
      // PostgreSQL rolls back when the connection of a crashed process ends.
      await database.sql(crash === 'no crash' ? 'COMMIT' : 'ROLLBACK');
    };
    await attempt('crash before the last step');
    await attempt('no crash');
    await attempt('no crash');
    expect(await charges()).toBe(1);
  });
});

// $1 payment, $2 token. The row lock on the fence orders two holders, and a holder with an older token changes nothing.
const CHARGE_UNLESS_STALE = `
  WITH fence AS (
    INSERT INTO fences VALUES ($1, $2)
    ON CONFLICT (payment) DO UPDATE SET token = excluded.token WHERE fences.token <= excluded.token
    RETURNING payment, token)
  INSERT INTO charged SELECT payment, token FROM fence`;
