// Goal: prove what a refund does, which refunds are refused, and that the refunds of a charge never exceed the charge.
// Method: send refunds to two replicas, some at once, and compare replies, rows of the service and rows of the bank.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Relay } from '../../src/messaging/index.js';
import { COMMITTERS, useCommitter } from '../support/committers.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { call, statusesOf, TWO_ACCOUNTS } from '../support/client.js';
import { CHARGE, holdAnswer, replyOf, startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';
import { Barrier } from '../support/waiting.js';
import { expectProblem } from '../support/wire.js';

let database: TestDatabase;
let service: TestService;
let replica: TestService;

const start = async () => {
  database = await createDatabase();
  service = await startService(database.url);
  replica = await startService(database.url);
};
const stop = async () => {
  await service?.stop();
  await replica?.stop();
  await database?.drop();
};

/** Makes a charge of 1999, and returns its id. */
async function charged(more: object = {}, key = 'charge'): Promise<string> {
  const response = await service.charge(key, { ...CHARGE, ...more });
  expect(response.status).toBe(200);
  return (response.body as { id: string }).id;
}

const chargeOf = async (id: string) => (await service.http.get(`/charges/${id}`)).body as Record<string, unknown>;

/** The number and the sum of the refunds that have succeeded, and the same at the bank. */
async function refunded(): Promise<{ count: number; sum: number }> {
  const ours = await database.sql<{ id: string; charge_id: string; amount: number }>(
    "SELECT account_id, id, charge_id, amount, currency FROM refunds WHERE status = 'succeeded' ORDER BY id",
  );
  const bank = await database.sql(
    'SELECT account_id, idempotency_key AS id, charge_id, amount, currency FROM bank.refunds ORDER BY 2',
  );
  expect(bank).toEqual(ours);
  return { count: ours.length, sum: ours.reduce((sum, { amount }) => sum + amount, 0) };
}

const keys = async () =>
  (await database.sql<{ key: string }>('SELECT idempotency_key AS key FROM processed_requests ORDER BY 1')).map(
    ({ key }) => key,
  );

afterEach(Barrier.openAll);

describe('a refund', () => {
  beforeAll(start);
  beforeEach(() => reset(database));
  afterAll(stop);

  it('refunds a part of a charge with 200, and the charge shows the sum of its refunds', async () => {
    const chargeId = await charged();
    const refund = await service.refund(chargeId, 'part', { amount: 500, reason: 'One cup arrived broken' });
    expect(refund.status).toBe(200);
    expect(refund.body).toEqual({
      id: expect.stringMatching(/^re_[0-9a-f]{32}$/),
      object: 'refund',
      charge_id: chargeId,
      amount: 500,
      currency: 'eur',
      status: 'succeeded',
      reason: 'One cup arrived broken',
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    expect((await service.refund(chargeId, 'part-2', { amount: 99 })).status).toBe(200);
    expect(await chargeOf(chargeId)).toMatchObject({ amount: 1999, amount_refunded: 599, status: 'succeeded' });
    expect(await refunded()).toEqual({ count: 2, sum: 599 });
  });

  it('refunds all that is left of the charge if the request names no amount', async () => {
    const chargeId = await charged();
    await service.refund(chargeId, 'part', { amount: 500 });
    for (const [i, body] of [{}, { amount: null, reason: null }].entries()) {
      const rest = await service.refund(chargeId, `rest-${i}`, body);
      if (i === 0) expect(rest.body).toMatchObject({ amount: 1499, reason: null });
      else expect(expectProblem(rest, 409, 'refund_exceeds_charge')).toMatchObject({ refundable: 0 });
    }
    expect(await chargeOf(chargeId)).toMatchObject({ amount_refunded: 1999 });
  });

  it('shows the refunded amount of each charge in the list, and 0 in the reply that made the charge', async () => {
    const first = await charged({}, 'first');
    const second = await charged({ amount: 300 }, 'second');
    await service.refund(first, 'refund', { amount: 10 });
    const { data } = (await service.http.get('/charges')).body as { data: Record<string, unknown>[] };
    expect(data.map(({ id, amount_refunded }) => [id, amount_refunded])).toEqual([
      [second, 0],
      [first, 10],
    ]);
    expect((await service.charge('first')).body).toMatchObject({ id: first, amount_refunded: 0 });
  });

  it.each([
    ['amount', 0],
    ['amount', -1],
    ['amount', 1.5],
    ['amount', '500'],
    ['amount', 100_000_000],
    ['reason', 'x'.repeat(501)],
    ['reason', 1],
    ['currency', 'eur'],
  ])('refuses a refund whose %s is %j, and the key stays unused', async (member, value) => {
    const chargeId = await charged();
    const refused = await service.refund(chargeId, 'refund', { [member]: value });
    const { errors } = expectProblem(refused, 400, 'validation_failed');
    expect(errors).toMatchObject([{ field: member }]);
    expect(await keys()).toEqual(['charge']);
  });

  it('requires an idempotency key, and refuses a key that belongs to a refund of another amount or charge', async () => {
    const [chargeId, other] = [await charged(), await charged({}, 'other')];
    const unkeyed = await service.http.post(`/charges/${chargeId}/refunds`).send({});
    expectProblem(unkeyed, 400, 'idempotency_key_missing');
    await service.refund(chargeId, 'refund', { amount: 500 });
    for (const reused of [
      await service.refund(chargeId, 'refund', { amount: 501 }),
      await service.refund(other, 'refund', { amount: 500 }),
    ]) {
      expectProblem(reused, 422, 'idempotency_key_reused');
    }
    expect(await refunded()).toEqual({ count: 1, sum: 500 });
  });

  it('records the 404 of a charge that does not exist, because no charge gets this id later', async () => {
    const refusals = [await service.refund('ch_unknown', 'refund'), await replica.refund('ch_unknown', 'refund')];
    expect(expectProblem(refusals[0] as never, 404, 'not_found')).toMatchObject({ outcome: 'final' });
    expect(refusals.map(({ headers }) => headers['idempotent-replayed'])).toEqual([undefined, 'true']);
    expect(refusals[1]?.text).toBe(refusals[0]?.text);
  });

  it('refuses to refund a charge that was declined, because no money was taken', async () => {
    const declined = await service.charge('charge', { ...CHARGE, source: 'tok_chargeDeclined' });
    const { charge_id } = declined.body as { charge_id: string };
    const refused = await service.refund(charge_id, 'refund', { amount: 1 });
    expect(expectProblem(refused, 409, 'refund_exceeds_charge')).toMatchObject({ refundable: 0, outcome: 'final' });
  });

  it('refuses to refund a pending charge without recording the refusal, so that the same key refunds the charge later', async () => {
    const answer = holdAnswer(service);
    const charging = service.charge('charge');
    await answer.reached.given;
    const [{ id = '' } = {}] = await database.sql<{ id: string }>('SELECT id FROM charges');
    const refused = await replica.refund(id, 'refund', { amount: 500 });
    expect(expectProblem(refused, 409, 'charge_pending')).toMatchObject({ outcome: 'not_started', retryable: true });
    expect(await keys()).toEqual(['charge']);
    answer.open();
    await charging;
    const refund = await replica.refund(id, 'refund', { amount: 500 });
    expect([refund.status, refund.headers['idempotent-replayed']]).toEqual([200, undefined]);
  });
});

describe.each(COMMITTERS)('refunds that are committed %s:', (committer) => {
  useCommitter(committer);
  beforeAll(start);
  beforeEach(() => reset(database));
  afterAll(stop);

  it('records the refusal of a refund that exceeds what is left, and replays it byte for byte', async () => {
    const chargeId = await charged();
    await service.refund(chargeId, 'first', { amount: 1500 });
    const refused = await service.refund(chargeId, 'too-much', { amount: 500 });
    expect(expectProblem(refused, 409, 'refund_exceeds_charge')).toMatchObject({
      refundable: 499,
      outcome: 'final',
      retryable: false,
    });
    await service.refund(chargeId, 'rest');
    const replayed = await replica.refund(chargeId, 'too-much', { amount: 500 });
    expect(replyOf(replayed)).toEqual(replyOf(refused));
    expect(replayed.headers['idempotent-replayed']).toBe('true');
    expect(await refunded()).toEqual({ count: 2, sum: 1999 });
  });

  it('counts a pending refund as refunded, because the bank may have paid it already', async () => {
    const chargeId = await charged();
    const answer = holdAnswer(service);
    const pending = service.refund(chargeId, 'pending', { amount: 1500 });
    await answer.reached.given;
    const refused = await replica.refund(chargeId, 'meanwhile', { amount: 500 });
    expect(expectProblem(refused, 409, 'refund_exceeds_charge')).toMatchObject({ refundable: 499 });
    expect(await chargeOf(chargeId)).toMatchObject({ amount_refunded: 0 });
    answer.open();
    expect((await pending).status).toBe(200);
  });

  it('never refunds more than the charge when 40 refunds with different keys reach two replicas at once', async () => {
    const chargeId = await charged();
    const responses = await Promise.all(
      Array.from({ length: 40 }, (_, i) => (i % 2 ? service : replica).refund(chargeId, `storm-${i}`, { amount: 100 })),
    );
    expect(statusesOf(responses)).toEqual({ 200: 19, 409: 21 });
    expect(await refunded()).toEqual({ count: 19, sum: 1900 });
    expect(await chargeOf(chargeId)).toMatchObject({ amount_refunded: 1900 });
  });

  it('refunds a charge once when 20 requests for all of it reach two replicas at once with different keys', async () => {
    const chargeId = await charged();
    const responses = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? service : replica).refund(chargeId, `all-${i}`)),
    );
    expect(statusesOf(responses)).toEqual({ 200: 1, 409: 19 });
    expect(await refunded()).toEqual({ count: 1, sum: 1999 });
  });

  it('refunds once when 40 duplicates of one refund reach two replicas at once, and answers each with the same bytes', async () => {
    const chargeId = await charged();
    const responses = await Promise.all(
      Array.from({ length: 40 }, (_, i) => (i % 2 ? service : replica).refund(chargeId, 'same', { amount: 100 })),
    );
    expect(new Set(responses.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(await refunded()).toEqual({ count: 1, sum: 100 });
  });

  it('refunds once when the answer of the bank is lost and the client retries', async () => {
    // The bank also loses the first answer to the charge, so the charge is sent twice.
    await service.charge('charge', { ...CHARGE, source: 'tok_timeout' });
    const id = await charged({ source: 'tok_timeout' });
    const lost = await service.refund(id, 'refund', { amount: 500 });
    expect(expectProblem(lost, 504, 'gateway_timeout')).toMatchObject({ outcome: 'unknown' });
    const retry = await replica.refund(id, 'refund', { amount: 500 });
    expect([retry.status, retry.headers['idempotent-replayed']]).toEqual([200, undefined]);
    expect(await refunded()).toEqual({ count: 1, sum: 500 });
  });
});

describe('the message of a refund', () => {
  beforeAll(async () => {
    database = await createDatabase();
    service = await startService(database.url, TWO_ACCOUNTS);
  });
  beforeEach(() => reset(database));
  afterAll(() => service.stop().then(() => database.drop()));

  const send = (method: string, path: string, key?: string, body?: object, account?: 'acct_b') =>
    call(service.url, method, path, { ...(key && { key }), ...(body && { body }), ...(account && { account }) });
  const balanceOf = async () => (await send('GET', '/balance')).body as unknown;
  const deliver = async () => {
    while ((await service.nest.get(Relay).runOnce()) > 0);
  };

  it('subtracts a refund from the balance once, however often its message is delivered', async () => {
    const { id } = (await send('POST', '/charges', 'charge', CHARGE)).body as { id: string };
    const refund = (await send('POST', `/charges/${id}/refunds`, 'refund', { amount: 500 })).body as { id: string };
    const [message] = await database.sql("SELECT id, data FROM outbox WHERE type = 'refund.succeeded'");
    expect(message).toEqual({
      id: `refund.succeeded.${refund.id}`,
      data: { refund_id: refund.id, charge_id: id, amount: 500, currency: 'eur' },
    });
    for (let i = 0; i < 3; i++) {
      await database.sql('UPDATE outbox SET published_at = NULL, available_at = now()');
      await deliver();
      expect(await balanceOf()).toEqual({ balances: [{ currency: 'eur', amount: 1499 }] });
    }
  });

  it('subtracts a refund whose message arrives before the message of its charge, so the balance is negative for a moment', async () => {
    const { id } = (await send('POST', '/charges', 'charge', CHARGE)).body as { id: string };
    await send('POST', `/charges/${id}/refunds`, 'refund', { amount: 500 });
    await database.sql("UPDATE outbox SET available_at = now() + interval '1 hour' WHERE type = 'charge.succeeded'");
    await deliver();
    expect(await balanceOf()).toEqual({ balances: [{ currency: 'eur', amount: -500 }] });
    await database.sql('UPDATE outbox SET available_at = now()');
    await deliver();
    expect(await balanceOf()).toEqual({ balances: [{ currency: 'eur', amount: 1499 }] });
  });

  it('refuses to refund the charge of another account with 404, because an account finds only its own charges', async () => {
    const { id } = (await send('POST', '/charges', 'charge', CHARGE)).body as { id: string };
    expectProblem(await send('POST', `/charges/${id}/refunds`, 'refund', {}, 'acct_b'), 404, 'not_found');
    expect(await refunded()).toEqual({ count: 0, sum: 0 });
  });
});
