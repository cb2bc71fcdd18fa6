// Goal: prove that a charge is captured once although the bank forgets its idempotency keys, and that a person can decide a charge that the service cannot.
// Method: start an HTTP server as the bank, make charges older than the life of a key, and compare the requests to the bank, the charges and the log.
import { execFile } from 'node:child_process';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Charge } from '../../src/charges/charge.entity.js';
import { ChargeResolution } from '../../src/charges/charge-resolution.js';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import { Recovery } from '../../src/idempotency/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, spawnService } from '../support/process.js';
import { startService, type TestService } from '../support/service.js';
import { effects, NOTHING, reset } from '../support/state.js';
import { Barrier } from '../support/waiting.js';

type Answer = (response: ServerResponse) => void;

let database: TestDatabase;
let service: TestService;
let bank: Server;
/** Method and path of each request to the bank. */
let asked: string[];
/** Answers of the bank to a request for money and to a look. Each test sets its own. */
let onCapture: Answer;
let onLook: Answer;

const answerWith = (status: number, body: object) => (response: ServerResponse) =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
const CAPTURED = answerWith(200, {});
const UNKNOWN = answerWith(404, { code: 'charge_unknown' });
const LOST: Answer = (response) => void response.destroy();

const bankUrl = () => `http://127.0.0.1:${(bank.address() as AddressInfo).port}`;

beforeAll(async () => {
  database = await createDatabase();
  bank = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    request.resume().once('end', () => (request.method === 'POST' ? onCapture : onLook)(response));
  });
  await new Promise<void>((resolve) => bank.listen(0, '127.0.0.1', resolve));
  service = await startService(database.url, { GATEWAY_URL: bankUrl() });
});
beforeEach(() => {
  asked = [];
  onCapture = LOST;
  onLook = UNKNOWN;
});
afterEach(() => reset(database));
afterAll(async () => {
  await killAll();
  await service?.stop();
  bank?.closeAllConnections();
  await new Promise((resolve) => bank?.close(resolve));
  await database?.drop();
});

const recover = () => service.nest.get(Recovery).runOnce();
/** Makes all charges one second older than a key of the bank lives by default. */
const outliveKeys = () => database.sql(`UPDATE charges SET created_at = created_at - interval '86401 seconds'`);
const onlyId = async () => (await database.sql<{ id: string }>('SELECT id FROM charges'))[0]?.id ?? '';

/** Leaves one charge whose capture got no answer, and whose key may have expired. */
async function leaveCharge(key: string): Promise<string> {
  expect((await service.charge(key)).status).toBe(503);
  await outliveKeys();
  return onlyId();
}

/** Runs the command line, and returns its exit code and what it printed. */
function command(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { PATH: process.env['PATH'], DATABASE_URL: database.url, GATEWAY_URL: bankUrl(), LOG_LEVEL: 'silent' };
  return promisify(execFile)(process.execPath, ['dist/src/resolve-charges.js', ...args], { env }).then(
    (output) => ({ code: 0, ...output }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  );
}

describe('a bank that forgets its idempotency keys', () => {
  it('is asked again while the key certainly lives', async () => {
    expect((await service.charge('alive')).status).toBe(503);
    await database.sql(`UPDATE charges SET created_at = created_at - interval '86000 seconds'`);
    onCapture = CAPTURED;
    expect(await recover()).toBe(1);
    expect(asked).toEqual(['POST /captures', 'POST /captures']);
    expect(await effects(database)).toMatchObject({ succeeded: 1, completed: 1 });
  });

  it('is only asked for its decision when the key may have expired, and the charge gets that decision', async () => {
    const id = await leaveCharge('captured');
    onLook = CAPTURED;
    expect(await recover()).toBe(1);
    expect(asked).toEqual(['POST /captures', `GET /captures/${id}`]);
    expect((await service.charge('captured')).body).toMatchObject({ id, status: 'succeeded' });
  });

  it('is not asked for money by a retry of the client either', async () => {
    const id = await leaveCharge('declined');
    onLook = answerWith(402, { decline_code: 'do_not_honor' });
    const reply = await service.charge('declined');
    expect([reply.status, (reply.body as { decline_code: string }).decline_code]).toEqual([402, 'do_not_honor']);
    expect(asked).toEqual(['POST /captures', `GET /captures/${id}`]);
  });

  it('leaves the charge pending if the bank does not know the charge, and says so in answer, log and metric', async () => {
    const served = await spawnService(database.url, { GATEWAY_URL: bankUrl(), RECOVERY_INTERVAL_MS: '3600000' });
    const id = await leaveCharge('undecided');
    const headers = { 'idempotency-key': 'undecided', 'content-type': 'application/json' };
    const body = JSON.stringify({ amount: 1999, currency: 'eur' });
    const answer = await fetch(`${served.url}/charges`, { method: 'POST', headers, body });
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '60']);
    expect(await answer.json()).toMatchObject({ code: 'charge_undecided', retryable: true, outcome: 'unknown' });
    expect(asked).toEqual(['POST /captures', `GET /captures/${id}`]);
    expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, in_progress: 1 });
    expect(served.output.join('\n')).toContain(`npm run charges:resolve -- --id ${id} --as captured|failed`);
    expect(await (await fetch(`${served.url}/metrics`)).text()).toContain('\ncharges_undecided_total 1\n');
  });

  it.each([
    ['a 404 without the code of an unknown charge', answerWith(404, {})],
    ['an error', answerWith(500, {})],
    ['a connection that breaks', LOST],
  ])('leaves the charge to recovery if the bank answers a look with %s', async (_, answer) => {
    await leaveCharge('looked');
    onLook = answer;
    const reply = await service.charge('looked');
    expect([reply.status, (reply.body as { code: string }).code]).toEqual([503, 'gateway_unavailable']);
    onLook = CAPTURED;
    expect((await service.charge('looked')).status).toBe(200);
  });
});

describe('npm run charges:resolve', () => {
  it('lists an undecided charge and settles it, and every retry gets the recorded reply', async () => {
    const id = await leaveCharge('resolved');
    expect((await command()).stdout).toMatch(new RegExp(`^${id}  acct_demo  1999  eur  .*Z\n$`));
    expect(await command('--id', id, '--as', 'failed')).toMatchObject({
      code: 0,
      stdout: `${id} is resolved as failed.\n`,
    });
    const reply = await service.charge('resolved');
    expect([reply.status, (reply.body as { decline_code: string }).decline_code]).toEqual([402, 'resolved_as_failed']);
    expect(reply.headers['idempotent-replayed']).toBe('true');
    expect(asked.filter((request) => request.startsWith('POST'))).toHaveLength(1);
    const again = await command('--id', id, '--as', 'failed');
    expect([again.code, again.stderr]).toEqual([1, `${id}: the charge is failed already\n`]);
  });

  it('says what it expects if the command line is not valid', async () => {
    for (const args of [['--id', 'ch_0'], ['--id', 'ch_0', '--as', 'lost'], ['--what']]) {
      const { code, stderr } = await command(...args);
      expect([code, stderr]).toEqual([2, expect.stringContaining('npm run charges:resolve')]);
    }
    expect(await command('--help')).toMatchObject({ code: 0 });
  });
});

describe('a charge of another gateway', () => {
  it('is not sent to the present gateway, by a retry, by recovery or by a person, because that gateway would capture it again', async () => {
    expect((await service.charge('moved')).status).toBe(503);
    await database.sql(`UPDATE charges SET gateway = 'stripe'`);
    onCapture = CAPTURED;
    const reply = await service.charge('moved');
    expect([reply.status, (reply.body as { code: string }).code]).toEqual([503, 'gateway_unavailable']);
    await recover();
    await outliveKeys();
    const resolution = service.nest.get(ChargeResolution, { strict: false });
    await expect(resolution.resolve(await onlyId(), 'failed')).rejects.toThrow('gateway_unavailable');
    expect(asked).toEqual(['POST /captures']);
    expect(await effects(database)).toMatchObject({ pending: 1 });
    await database.sql(`UPDATE charges SET gateway = 'http', created_at = clock_timestamp()`);
    expect((await service.charge('moved')).status).toBe(200);
  });

  it('is not refunded by the present gateway, and the key of the refund stays unused', async () => {
    onCapture = CAPTURED;
    const { id } = (await service.charge('sold')).body as { id: string };
    await database.sql(`UPDATE charges SET gateway = 'stripe'`);
    const refund = await service.http.post(`/charges/${id}/refunds`).set('idempotency-key', 'back').send({});
    expect(refund.status).toBe(503);
    expect(asked).toEqual(['POST /captures']);
    expect(await database.sql('SELECT FROM refunds')).toHaveLength(0);
  });

  it('does not include the charges of earlier versions, whose gateway is not known', async () => {
    expect((await service.charge('older')).status).toBe(503);
    await database.sql('UPDATE charges SET gateway = NULL');
    onCapture = CAPTURED;
    expect((await service.charge('older')).status).toBe(200);
  });
});

describe('the resolution of a charge', () => {
  const resolution = () => service.nest.get(ChargeResolution, { strict: false });

  it('counts a charge that was captured, once', async () => {
    const id = await leaveCharge('captured');
    await resolution().resolve(id, 'captured');
    expect((await service.charge('captured')).body).toMatchObject({ id, status: 'succeeded' });
    await expect(resolution().resolve(id, 'captured')).rejects.toThrow('the charge is succeeded already');
    expect(await database.sql('SELECT id FROM outbox')).toEqual([{ id: `charge.succeeded.${id}` }]);
  });

  it('is refused while the service can still ask the bank', async () => {
    expect((await service.charge('young')).status).toBe(503);
    await expect(resolution().resolve(await onlyId(), 'failed')).rejects.toThrow('can still ask the gateway for');
    expect(await effects(database)).toMatchObject({ pending: 1 });
  });

  it('is refused if it contradicts the bank, or if the bank is silent', async () => {
    const id = await leaveCharge('contradicted');
    onLook = CAPTURED;
    await expect(resolution().resolve(id, 'failed')).rejects.toThrow('knows this charge as succeeded');
    onLook = LOST;
    await expect(resolution().resolve(id, 'failed')).rejects.toThrow('gateway_unavailable');
    expect(await effects(database)).toMatchObject({ pending: 1 });
    await expect(resolution().resolve('ch_0', 'failed')).rejects.toThrow('there is no such charge');
  });

  it('fences off an attempt that still looks for the decision, and the client of that attempt gets the recorded reply', async () => {
    const id = await leaveCharge('looking');
    const isAsked = new Barrier();
    onLook = (response) => void isAsked.pass().then(() => CAPTURED(response));
    const looking = service.charge('looking');
    await isAsked.reached.given;
    onLook = UNKNOWN;
    await resolution().resolve(id, 'failed');
    isAsked.open();
    const reply = await looking;
    expect([reply.status, (reply.body as { decline_code: string }).decline_code]).toEqual([402, 'resolved_as_failed']);
    expect(await effects(database)).toMatchObject({ failed: 1, completed: 1, in_progress: 0 });
  });
});

describe('the simulated bank', () => {
  /** The captures of the bank, and how many keys the bank still knows. */
  const captures = async () => {
    const [row] = await database.sql<{ captures: number; keys: number }>(
      `SELECT count(*)::int AS captures, count(*) FILTER (WHERE idempotency_key = charge_id)::int AS keys FROM bank.captures`,
    );
    return row;
  };
  const outliveKeysOfBank = () =>
    database.sql(`UPDATE bank.captures SET captured_at = captured_at - interval '86401 seconds'`);

  let own: TestService;
  beforeAll(async () => void (own = await startService(database.url)));
  afterAll(() => own?.stop());

  it('forgets a key after GATEWAY_KEY_LIFE_SECONDS, so a request with the key captures again', async () => {
    expect((await own.charge('forgotten')).status).toBe(200);
    const [charge] = await database.sql<Charge>('SELECT * FROM charges');
    const bank = own.nest.get(PaymentGateway);
    const ask = () => bank.authorize(charge as Charge, performance.now());
    await ask();
    expect(await captures()).toEqual({ captures: 1, keys: 1 });
    await outliveKeysOfBank();
    await Promise.all([ask(), ask()]);
    expect(await captures()).toEqual({ captures: 2, keys: 1 });
  });

  it('captures a charge once although its key is forgotten before the service learns the decision', async () => {
    const charge = { amount: 1999, currency: 'eur', source: 'tok_timeout' };
    expect((await own.charge('lost', charge)).status).toBe(504);
    await outliveKeys();
    await outliveKeysOfBank();
    expect((await own.charge('lost', charge)).status).toBe(200);
    expect(await captures()).toEqual({ captures: 1, keys: 1 });
  });

  it('decides a decline by the token, also when only looked at, and knows nothing of a capture that never began', async () => {
    const unavailable = { amount: 1999, currency: 'eur', source: 'tok_unavailable' };
    expect((await own.charge('never', unavailable)).status).toBe(503);
    await outliveKeys();
    expect((await own.charge('never', unavailable)).body).toMatchObject({ code: 'charge_undecided' });
    const [charge] = await database.sql<Charge>('SELECT * FROM charges');
    const declines = { ...charge, source: 'tok_insufficientFunds' } as Charge;
    const found = await own.nest.get(PaymentGateway).look(declines);
    expect(found).toEqual({ status: 'failed', declineCode: 'insufficient_funds' });
  });
});
