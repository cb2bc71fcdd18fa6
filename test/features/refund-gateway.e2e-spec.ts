// Goal: prove how a refund talks to a bank: what is sent, which answers decide it, and that money is returned once although keys are forgotten.
// Method: start an HTTP server as the bank, answer as each test says, and compare requests, refunds and replies.
import { execFile } from 'node:child_process';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Charge } from '../../src/charges/charge.entity.js';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import type { Refund } from '../../src/charges/refunds/refund.entity.js';
import { RefundResolution } from '../../src/charges/refunds/refund-resolution.js';
import { Recovery } from '../../src/idempotency/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { refundsOf, reset } from '../support/state.js';
import { expectProblem } from '../support/wire.js';

type Answer = (response: ServerResponse) => void;

let database: TestDatabase;
let service: TestService;
let bank: Server;
/** Each request about a refund: method and path, the key and the body. */
let asked: { line: string; key: unknown; body: unknown }[];
/** Answers of the bank to a refund and to a look. Each test sets its own. */
let onRefund: Answer;
let onLook: Answer;
/** The id of a charge of 1999. */
let chargeId: string;

const answerWith = (status: number, body: object | string) => (response: ServerResponse) =>
  void response
    .writeHead(status, { 'content-type': 'application/json' })
    .end(typeof body === 'string' ? body : JSON.stringify(body));
const PAID = answerWith(200, {});
const UNKNOWN = answerWith(404, { code: 'refund_unknown' });
const LOST: Answer = (response) => void response.destroy();

const bankUrl = () => `http://127.0.0.1:${(bank.address() as AddressInfo).port}`;

beforeAll(async () => {
  database = await createDatabase();
  bank = createServer((request, response) => {
    const line = `${request.method} ${request.url}`;
    if (line === 'POST /captures') return answerWith(200, {})(response);
    const note = (body: unknown) => {
      asked.push({ line, key: request.headers['idempotency-key'], body });
      return (request.method === 'POST' ? onRefund : onLook)(response);
    };
    if (request.method === 'GET') return note(undefined);
    json(request).then(note, () => response.destroy());
  });
  await new Promise<void>((resolve) => bank.listen(0, '127.0.0.1', resolve));
  service = await startService(database.url, { GATEWAY_URL: bankUrl() });
});
beforeEach(async () => {
  await reset(database);
  asked = [];
  onRefund = PAID;
  onLook = UNKNOWN;
  chargeId = ((await service.charge('charge')).body as { id: string }).id;
});
afterAll(async () => {
  await service?.stop();
  bank?.closeAllConnections();
  await new Promise((resolve) => bank?.close(resolve));
  await database?.drop();
});

const lines = () => asked.map(({ line }) => line);
const recover = () => service.nest.get(Recovery).runOnce();
const refund = (body: object = { amount: 500 }) => service.refund(chargeId, 'refund', body);
const outliveKeys = () => database.sql(`UPDATE refunds SET created_at = created_at - interval '86401 seconds'`);
const onlyId = async () => (await database.sql<{ id: string }>('SELECT id FROM refunds'))[0]?.id ?? '';

/** Leaves one refund whose payment got no answer, and whose key may have expired. */
async function leaveRefund(): Promise<string> {
  onRefund = LOST;
  expect((await refund()).status).toBe(503);
  await outliveKeys();
  return onlyId();
}

describe('a refund at a bank over HTTP', () => {
  it('asks the bank to pay with the id of the refund as the idempotency key', async () => {
    const { id } = (await refund({ amount: 500, reason: 'not for the bank' })).body as { id: string };
    const body = { account_id: 'acct_demo', refund_id: id, charge_id: chargeId, amount: 500, currency: 'eur' };
    expect(asked).toEqual([{ line: 'POST /refunds', key: id, body }]);
  });

  it('records the refusal of the bank as the 402 that every retry gets, and the amount can be refunded again', async () => {
    onRefund = answerWith(402, { failure_code: 'charge_disputed' });
    const replies = [await refund({}), await refund({})];
    expect(expectProblem(replies[0] as never, 402, 'refund_failed')).toMatchObject({
      failure_code: 'charge_disputed',
      refund_id: await onlyId(),
      outcome: 'final',
    });
    expect(replies[1]?.text).toBe(replies[0]?.text);
    expect(asked).toHaveLength(1);
    expect(await database.sql("SELECT type FROM outbox WHERE type <> 'charge.succeeded'")).toEqual([]);
    onRefund = PAID;
    expect((await service.refund(chargeId, 'again')).body).toMatchObject({ amount: 1999 });
  });

  it.each([
    ['an error', answerWith(500, {})],
    ['a refusal without a code', answerWith(402, {})],
    ['a refusal whose code holds U+0000', answerWith(402, { failure_code: 'a\0b' })],
    ['a refusal whose code is a card number', answerWith(402, { failure_code: '4242424242424242' })],
    ['a body that is null', answerWith(200, 'null')],
    ['a body that is not JSON', answerWith(200, 'OK')],
    ['a connection that breaks', LOST],
  ])(
    'leaves the refund pending when the bank answers with %s, and asks again with the same key',
    async (_, failure) => {
      onRefund = failure;
      const first = await refund();
      expect(expectProblem(first, 503, 'gateway_unavailable')).toMatchObject({ outcome: 'unknown' });
      expect(await refundsOf(database)).toMatchObject({ pending: '1 of 500', succeeded: '0 of 0' });
      onRefund = PAID;
      expect(await recover()).toBe(1);
      expect((await refund()).status).toBe(200);
      expect(asked).toHaveLength(2);
      expect(asked[1]).toEqual(asked[0]);
    },
  );
});

describe('a bank that forgets the key of a refund', () => {
  it('is only asked for its decision when the key may have expired, and the refund gets that decision', async () => {
    const id = await leaveRefund();
    onLook = PAID;
    expect(await recover()).toBe(1);
    expect(lines()).toEqual(['POST /refunds', `GET /refunds/${id}`]);
    expect((await refund()).body).toMatchObject({ id, amount: 500 });
  });

  it('leaves the refund pending if the bank does not know the refund, and a person settles it with a command', async () => {
    const id = await leaveRefund();
    const undecided = await refund();
    expect(expectProblem(undecided, 503, 'refund_undecided')).toMatchObject({ outcome: 'unknown', retryable: true });
    expect((await service.http.get('/metrics')).text).toContain('\nrefunds_undecided_total 1\n');
    const env = { PATH: process.env['PATH'], DATABASE_URL: database.url, GATEWAY_URL: bankUrl(), LOG_LEVEL: 'silent' };
    const run = (...args: string[]) =>
      promisify(execFile)(process.execPath, ['dist/src/resolve-charges.js', ...args], { env });
    expect((await run()).stdout).toMatch(new RegExp(`^${id}  acct_demo  500  eur  .*Z\n$`));
    expect((await run('--id', id, '--as', 'failed')).stdout).toBe(`${id} is resolved as failed.\n`);
    const reply = await refund();
    expect(JSON.parse(reply.text)).toMatchObject({ code: 'refund_failed', failure_code: 'resolved_as_failed' });
    expect([reply.status, reply.headers['idempotent-replayed']]).toEqual([402, 'true']);
    expect(lines().filter((line) => line.startsWith('POST'))).toHaveLength(1);
  });

  it('lets a person count a refund that the bank has paid, once, and refuses what the bank contradicts', async () => {
    const resolution = service.nest.get(RefundResolution, { strict: false });
    const id = await leaveRefund();
    onLook = PAID;
    await expect(resolution.resolve(id, 'failed')).rejects.toThrow('knows this refund as succeeded');
    onLook = UNKNOWN;
    await resolution.resolve(id, 'refunded');
    expect((await refund()).body).toMatchObject({ id, status: 'succeeded' });
    await expect(resolution.resolve(id, 'refunded')).rejects.toThrow('expected a pending refund');
    expect(await database.sql("SELECT id FROM outbox WHERE type = 'refund.succeeded'")).toEqual([
      { id: `refund.succeeded.${id}` },
    ]);
  });

  it('refuses to let a person decide a refund while the service can still ask the bank', async () => {
    onRefund = LOST;
    await refund();
    const resolution = service.nest.get(RefundResolution, { strict: false });
    await expect(resolution.resolve(await onlyId(), 'failed')).rejects.toThrow(
      'whose key at the gateway may have expired',
    );
  });
});

describe('the simulated bank', () => {
  it('pays a refund once for each key while the key lives, finds the refund, and forgets the key', async () => {
    const own = await startService(database.url);
    const gateway = own.nest.get(PaymentGateway);
    const { id } = (await own.charge('own', CHARGE)).body as Charge;
    await own.refund(id, 'own-refund', { amount: 1 });
    const [row] = await database.sql<Refund>('SELECT * FROM refunds');
    const [charge] = await database.sql<Charge>('SELECT * FROM charges WHERE id = $1', [id]);
    const ask = () => gateway.refund(row as Refund, charge as Charge, performance.now());
    await ask();
    expect(await gateway.lookRefund(row as Refund, charge as Charge)).toEqual({ status: 'succeeded' });
    expect(await gateway.lookRefund({ ...row, id: 're_other' } as Refund, charge as Charge)).toBeUndefined();
    expect(await refundsOf(database)).toMatchObject({ paid: '1 of 1' });
    await database.sql(`UPDATE bank.refunds SET refunded_at = refunded_at - interval '86401 seconds'`);
    await Promise.all([ask(), ask()]);
    expect(await refundsOf(database)).toMatchObject({ paid: '2 of 2' });
    await own.stop();
  });
});
