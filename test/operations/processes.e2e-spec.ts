// Goal: prove the promise for real processes that are killed, frozen, stopped or lose their database.
// Method: start the built service as processes, send them signals while the bank holds an answer back, and count effects.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { openDatabase } from '../../src/database/open-database.js';
import { mkdtemp } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.js';
import { migrate } from '../../src/database/migrate.js';
import { startBank, type TestBank } from '../support/bank.js';
import { connect, createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, type ServiceProcess, spawnService } from '../support/process.js';
import { CHARGE, startService } from '../support/service.js';
import { effects, NOTHING, ONE_CHARGE, reset } from '../support/state.js';
import { Barrier, until } from '../support/waiting.js';

/** A short lease and frequent recovery, so that a test waits for neither. */
const QUICK = { IDEMPOTENCY_LEASE_SECONDS: '1', RECOVERY_INTERVAL_MS: '50' };
/** Recovery that does not run during a test, so that only a retry can finish a charge. */
const NO_RECOVERY = { RECOVERY_INTERVAL_MS: '3600000' };

let database: TestDatabase;
let bank: TestBank;
beforeAll(async () => {
  database = await createDatabase();
  bank = await startBank(database);
});
beforeEach(() => reset(database));
afterEach(async () => {
  Barrier.openAll();
  await killAll();
});
afterAll(async () => {
  await bank?.close();
  await database?.drop();
});

interface Answer {
  status: number;
  text: string;
  replayed: boolean;
}

const charge = (service: Pick<ServiceProcess, 'url'>, key: string, body: object = CHARGE) =>
  post(service, '/charges', key, body);

async function post({ url }: Pick<ServiceProcess, 'url'>, path: string, key: string, body: object): Promise<Answer> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key };
  const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  return {
    status: response.status,
    text: await response.text(),
    replayed: response.headers.has('idempotent-replayed'),
  };
}

/** A process that uses the bank of this test. */
const spawnWithBank = (env: Record<string, string>) => spawnService(database.url, { GATEWAY_URL: bank.url, ...env });

const twoServices = (env: Record<string, string>) => Promise.all([spawnWithBank(env), spawnWithBank(env)]);

/**
 * Sends a charge and breaks the connection while the bank works.
 *
 * @returns the barrier that holds back the answer of the bank
 */
async function hangUp({ url }: Pick<ServiceProcess, 'url'>, key: string): Promise<Barrier> {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key };
  const answer = bank.holdAnswer();
  const outgoing = httpRequest(`${url}/charges`, { method: 'POST', headers });
  outgoing.on('error', () => undefined).end(JSON.stringify(CHARGE));
  await answer.reached.given;
  outgoing.destroy();
  return answer;
}

describe('two processes on one database', () => {
  // Adds to test/spec/double-charge: two real processes of the built service, which share nothing but the database.
  it('charges once when 60 duplicates reach two processes at once', async () => {
    const [one, other] = await twoServices(NO_RECOVERY);
    const answers = await Promise.all(Array.from({ length: 60 }, (_, i) => charge(i % 2 ? one : other, 'storm')));
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });
});

describe('refunds at two processes on one database', () => {
  const refunds = async () =>
    (
      await database.sql(`
        SELECT (SELECT concat(count(*), ' of ', sum(amount)) FROM refunds WHERE status = 'succeeded') AS succeeded,
               (SELECT concat(count(*), ' of ', sum(amount)) FROM bank.refunds) AS paid,
               (SELECT count(*)::int FROM refunds WHERE status = 'pending') AS pending`)
    )[0];

  it('never refunds more than the charge when 60 refunds with different keys reach two processes at once', async () => {
    const [one, other] = await twoServices(NO_RECOVERY);
    const { id } = JSON.parse((await charge(one, 'charge')).text) as { id: string };
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) =>
        post(i % 2 ? one : other, `/charges/${id}/refunds`, `r-${i}`, { amount: 100 }),
      ),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(19);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(41);
    expect(await refunds()).toEqual({ succeeded: '19 of 1900', paid: '19 of 1900', pending: 0 });
  });

  it('finishes the refund of a killed process without its client, and pays it once', async () => {
    const [victim, other] = await twoServices(QUICK);
    const { id } = JSON.parse((await charge(victim, 'charge')).text) as { id: string };
    const answer = bank.holdAnswer();
    const lost = post(victim, `/charges/${id}/refunds`, 'killed', { amount: 500 }).catch(() => 'no answer');
    await answer.reached.given;
    victim.signal('SIGKILL');
    expect(await lost).toBe('no answer');
    answer.open();
    await until(async () => (await refunds())?.['pending'] === 0);
    expect(await refunds()).toEqual({ succeeded: '1 of 500', paid: '1 of 500', pending: 0 });
    const retry = await post(other, `/charges/${id}/refunds`, 'killed', { amount: 500 });
    expect([retry.status, retry.replayed]).toEqual([200, true]);
  });
});

describe('a process that is killed while the bank works', () => {
  it('finishes the charge of a killed process when a retry reaches another process and the lease has expired', async () => {
    const [victim, other] = await twoServices({ ...NO_RECOVERY, IDEMPOTENCY_LEASE_SECONDS: '1' });
    const answer = bank.holdAnswer();
    const lost = charge(victim, 'killed').catch(() => 'no answer');
    await answer.reached.given;
    victim.signal('SIGKILL');
    expect(await lost).toBe('no answer');
    expect((await charge(other, 'killed')).status).toBe(200);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('finishes the charge of a killed process by recovery in another process, without a client', async () => {
    const victim = await spawnWithBank(NO_RECOVERY);
    const answer = bank.holdAnswer();
    const lost = charge(victim, 'killed').catch(() => 'no answer');
    await answer.reached.given;
    victim.signal('SIGKILL');
    await lost;
    await database.sql('UPDATE processed_requests SET locked_until = now()');
    await spawnWithBank(QUICK);
    await until(async () => (await effects(database)).completed === 1);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });
});

describe('a process that is frozen past its lease', () => {
  it('fences off a process that was frozen past its lease, which answers with the reply of the process that took over', async () => {
    const [sleeper, other] = await twoServices({ ...NO_RECOVERY, IDEMPOTENCY_LEASE_SECONDS: '1' });
    const answer = bank.holdAnswer();
    const asleep = charge(sleeper, 'frozen');
    await answer.reached.given;
    sleeper.signal('SIGSTOP');
    const takeover = await charge(other, 'frozen');
    answer.open();
    sleeper.signal('SIGCONT');
    const woken = await asleep;
    expect(takeover.status).toBe(200);
    expect([woken.status, woken.text]).toEqual([200, takeover.text]);
    expect([takeover.replayed, woken.replayed]).toEqual([false, true]);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });
});

describe('SIGTERM', () => {
  it('answers requests that have started, refuses new ones, and exits with 0 after SIGTERM', async () => {
    const service = await spawnWithBank(NO_RECOVERY);
    const answer = bank.holdAnswer();
    const started = charge(service, 'started');
    await answer.reached.given;
    await until(async () => (await get(service.url, '/health/ready')).status === 200);
    service.signal('SIGTERM');
    await until(async () => (await get(service.url, '/health/ready')).status === 503);
    const refused = await get(service.url, '/charges');
    expect(refused.status).toBe(503);
    expect(JSON.parse(refused.text)).toMatchObject({ code: 'shutting_down', outcome: 'not_started', retryable: true });
    answer.open();
    expect((await started).status).toBe(200);
    expect(await service.ended).toBe(0);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('answers requests that have started although SIGINT comes several times, as from a terminal and from npm', async () => {
    const service = await spawnWithBank(NO_RECOVERY);
    const answer = bank.holdAnswer();
    const started = charge(service, 'started');
    await answer.reached.given;
    service.signal('SIGINT');
    service.signal('SIGINT');
    await until(async () => (await get(service.url, '/health/ready')).status === 503);
    service.signal('SIGINT');
    answer.open();
    expect((await started).status).toBe(200);
    expect(await service.ended).toBe(0);
  });

  it('waits after SIGTERM for a charge whose client has hung up', async () => {
    const service = await spawnWithBank(NO_RECOVERY);
    const answer = await hangUp(service, 'just_now');
    service.signal('SIGTERM');
    await until(async () => (await get(service.url, '/health/ready')).status === 503);
    answer.open();
    expect(await service.ended).toBe(0);
    expect(await effects(database)).toEqual(ONE_CHARGE);
  });

  it('does not wait at shutdown for a finished charge whose client had hung up', async () => {
    // Runs in this process, which sees the end of the wait as an event. A separate process would also exit at its time limit.
    const { url, drain, stop } = await startService(database.url, { GATEWAY_URL: bank.url });
    const longAgo = await hangUp({ url }, 'long_ago');
    longAgo.open();
    await until(async () => (await effects(database)).completed === 1);
    const justNow = await hangUp({ url }, 'just_now');
    let hasEnded = false;
    const drained = drain.start().then(() => (hasEnded = true));
    expect((await get(url, '/health/ready')).status).toBe(503);
    expect(hasEnded).toBe(false);
    justNow.open();
    await drained;
    expect(await effects(database)).toEqual({ ...NOTHING, succeeded: 2, captures: 2, completed: 2 });
    await stop();
  });
});

describe('a database that is killed and started again', () => {
  const SLOW = { ...CHARGE, source: 'tok_slow' };

  /**
   * Kills the server and freezes one of its backends. The server cannot be replaced while a backend lives.
   *
   * @returns a function that lets the frozen backend end, so that the server can start again
   */
  async function killAndKeepDown({ url, pid }: EmbeddedPostgres): Promise<() => void> {
    const client = await connect(url);
    const checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    const backend = (await client.query<{ pid: number }>(checkpointer)).rows[0]?.pid ?? NaN;
    await client.end();
    process.kill(backend, 'SIGSTOP');
    process.kill(pid ?? NaN, 'SIGKILL');
    return () => process.kill(backend, 'SIGCONT');
  }

  it('loses no acknowledged charge when the database is killed, and serves again without a restart', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'payments-restart-'));
    const postgres = await EmbeddedPostgres.start({ directory, durable: true, throwaway: true });
    await migrate(postgres.url);
    // Without a database the process cannot release its lease, so the retry waits until the lease has expired.
    const service = await spawnService(postgres.url, { ...NO_RECOVERY, IDEMPOTENCY_LEASE_SECONDS: '1' });
    const before = await charge(service, 'before');
    const during = charge(service, 'during', SLOW);
    await until(async () => (await get(service.url, '/idempotency-keys/during')).status === 200);

    const letRestart = await killAndKeepDown(postgres);
    await until(async () => (await get(service.url, '/health/ready')).status === 503);
    expect((await get(service.url, '/health/live')).status).toBe(200);
    letRestart();
    await until(async () => (await get(service.url, '/health/ready')).status === 200);

    const retry = await charge(service, 'before');
    expect([retry.status, retry.text, retry.replayed]).toEqual([200, before.text, true]);
    expect([200, 503]).toContain((await during).status);
    const finished = await charge(service, 'during', SLOW);
    expect(finished.status).toBe(200);
    const list = JSON.parse((await get(service.url, '/charges')).text) as { data: unknown[] };
    expect(list.data).toHaveLength(2);
    service.signal('SIGTERM');
    expect(await service.ended).toBe(0);
    await postgres.stop();
  });
});

describe('the start of the service', () => {
  it('prints at the start its URL, its docs, its database without the password, and two requests to try', async () => {
    const { output, url } = await spawnService(database.url);
    const text = output.join('\n');
    await until(() => output.join('\n').split('curl -i').length === 3);
    expect(text).toContain(`Payments are served at ${url}, the docs at ${url}/docs`);
    expect(output.join('\n')).toContain(`on PostgreSQL at ${new URL(database.url).host}`);
    expect(output.join('\n')).not.toContain(new URL(database.url).password);
    expect(await effects(database)).toEqual(NOTHING);
  });

  it.each([
    [{ PORT: 'http' }, /PORT: expected a port number/],
    [{ HOST: '0.0.0.0' }, /HOST: .*API_KEYS/],
    [{ DATABASE_URL: 'postgres://127.0.0.1:1/payments' }, /DATABASE_URL.*ECONNREFUSED/s],
  ])('refuses to start with %j, and names the setting', async (env, message) => {
    await expect(spawnService(database.url, env)).rejects.toThrow(message);
  });

  it('refuses to start if DATABASE_URL names a missing file, and does not print the password', async () => {
    const url = 'postgres://user:hunter2@127.0.0.1:1/payments?sslrootcert=/no/such/file';
    const started = openDatabase({ DATABASE_URL: url });
    await expect(started).rejects.toThrow(/^DATABASE_URL: expected a usable PostgreSQL at 127.0.0.1:1, but .*ENOENT/);
    await expect(started).rejects.not.toThrow(/hunter2/);
  });

  it('refuses to start on a database that is not UTF-8, before it writes anything', async () => {
    const latin = await createDatabase({ empty: true, encoding: 'LATIN1' });
    const message = /DATABASE_URL: expected a database with the encoding UTF8, but its encoding is LATIN1/;
    await expect(spawnService(latin.url)).rejects.toThrow(message);
    expect(await latin.sql(`SELECT FROM pg_tables WHERE schemaname = 'public'`)).toEqual([]);
    await latin.drop();
  });
});

function get(url: string, path: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url + path, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on('error', reject).end();
  });
}

describe('processes that are killed repeatedly', () => {
  it('applies every order, charge and message exactly once although two processes are killed repeatedly', async () => {
    const env = { ...QUICK, RELAY_INTERVAL_MS: '20', MESSAGE_RETRY_MS: '20' };
    await database.sql("INSERT INTO inventory VALUES ('acct_demo', 'beans', 1000)");
    const services = await twoServices(env);
    let isOver = false;
    const kill = async () => {
      for (let i = 0; !isOver; i++) {
        const victim = services[i % 2] as ServiceProcess;
        // At a random moment, in the middle of its work.
        await until(() => isOver || Math.random() < 0.05);
        victim.signal('SIGKILL');
        await victim.ended;
        services[i % 2] = await spawnService(database.url, env);
      }
    };
    const send = (path: string, body: object, key?: string) =>
      until(async () => {
        const { url } = services[Math.random() < 0.5 ? 0 : 1];
        const headers = { 'content-type': 'application/json', ...(key && { 'idempotency-key': key }) };
        const sent = fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
        return sent.then(
          ({ status }) => status === 200,
          () => false,
        );
      });
    const client = async (number: number) => {
      for (let i = 0; i < 12; i++) {
        const order_id = `order_${number}_${i}`;
        const order = { order_id, items: [{ item_id: 'beans', quantity: 2, unit_amount: 50 }] };
        await Promise.all([
          send('/orders', order, i % 2 ? order_id : undefined),
          send('/charges', { amount: 100, currency: 'eur', order_id }, `charge_${order_id}`),
        ]);
      }
    };
    const killing = kill();
    await Promise.all([0, 1, 2, 3, 4, 5].map(client));
    isOver = true;
    await killing;
    const count = 6 * 12;
    const state = async () =>
      (
        await database.sql(`
          SELECT (SELECT count(*)::int FROM orders) AS orders, (SELECT count(*)::int FROM orders WHERE status = 'paid') AS paid,
                 (SELECT stock FROM inventory) AS stock, (SELECT amount::int FROM balances) AS balance,
                 (SELECT sum(amount)::int FROM bank.captures) AS captured, (SELECT count(*)::int FROM failed_messages) AS failed`)
      )[0];
    await until(async () => (await database.sql('SELECT FROM outbox WHERE published_at IS NULL')).length === 0);
    expect(await state()).toEqual({
      orders: count,
      paid: count,
      stock: 1000 - 2 * count,
      balance: 100 * count,
      captured: 100 * count,
      failed: 0,
    });
  });
});
