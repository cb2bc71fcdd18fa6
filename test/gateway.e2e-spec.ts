import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Recovery } from '../src/idempotency/index.js';
import { createDatabase, type TestDatabase } from './support/database.js';
import { CHARGE, startService, type TestService } from './support/service.js';
import { effects, NOTHING, reset } from './support/state.js';

/** What the bank was sent. */
interface Received {
  key: string | string[] | undefined;
  body: unknown;
}

let database: TestDatabase;
let service: TestService;
/** Gives the bank up after a moment. */
let hasty: TestService;
let bank: Server;
let received: Received[];
/** How the bank answers; each test says. */
let answer: (response: ServerResponse) => void;

const answerWith = (status: number, body: string) => (response: ServerResponse) =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(body);
const CAPTURED = answerWith(200, '{}');

beforeAll(async () => {
  database = await createDatabase();
  bank = createServer((request: IncomingMessage, response) => {
    expect(`${request.method} ${request.url}`).toBe('POST /bank/captures');
    json(request).then(
      (body) => {
        received.push({ key: request.headers['idempotency-key'], body });
        answer(response);
      },
      () => response.destroy(),
    );
  });
  await new Promise<void>((resolve) => bank.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(bank.address() as AddressInfo).port}/bank/`;
  service = await startService(database.url, { GATEWAY_URL: url });
  hasty = await startService(database.url, { GATEWAY_URL: url, GATEWAY_TIMEOUT_MS: '300' });
});
beforeEach(() => void (received = []));
afterEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await hasty?.stop();
  bank?.closeAllConnections();
  await new Promise((resolve) => bank?.close(resolve));
  await database?.drop();
});

describe('a gateway over HTTP', () => {
  it('is asked for the money with the id of the charge as its idempotency key', async () => {
    answer = CAPTURED;
    const charge = await service.charge('asked', { ...CHARGE, source: 'tok_mastercard' });
    expect(charge.status).toBe(200);
    const { id } = charge.body as { id: string };
    const { amount, currency } = CHARGE;
    const body = { account_id: 'acct_demo', charge_id: id, amount, currency, source: 'tok_mastercard' };
    expect(received).toEqual([{ key: id, body }]);
    expect(await effects(database)).toEqual({ ...NOTHING, succeeded: 1, completed: 1 });
  });

  it('declines with 402 and its reason, which is recorded like a success', async () => {
    answer = answerWith(402, '{"decline_code": "do_not_honor"}');
    const replies = [await service.charge('declined'), await service.charge('declined')];
    expect(replies.map(({ status }) => status)).toEqual([402, 402]);
    expect(replies[0]?.body).toMatchObject({ code: 'card_declined', decline_code: 'do_not_honor' });
    expect(replies[1]?.text).toBe(replies[0]?.text);
    expect(received).toHaveLength(1);
  });

  it.each([
    ['an error', answerWith(500, '{}')],
    ['a redirect', (response: ServerResponse) => void response.writeHead(302, { location: '/elsewhere' }).end()],
    ['a decline without a reason', answerWith(402, '{}')],
    ['what is not JSON', answerWith(200, 'OK')],
    ['a connection that breaks', (response: ServerResponse) => void response.destroy()],
  ])('decides nothing with %s: the charge is pending, and the retry asks with the same key', async (_, failure) => {
    answer = failure;
    const first = await service.charge('undecided');
    expect({ status: first.status, body: first.body as unknown }).toMatchObject({
      status: 503,
      body: { code: 'gateway_unavailable', outcome: 'unknown', retryable: true },
    });
    expect(await effects(database)).toEqual({ ...NOTHING, pending: 1, in_progress: 1 });
    answer = CAPTURED;
    expect((await service.charge('undecided')).status).toBe(200);
    expect(received).toHaveLength(2);
    expect(received[1]).toEqual(received[0]);
  });

  it('that does not answer in time is 504, and recovery asks again with the same key', async () => {
    answer = () => undefined;
    let late = await hasty.charge('late');
    // A busy machine may give up before the bank has been asked at all.
    while (received.length === 0) late = await hasty.charge('late');
    expect({ status: late.status, code: (late.body as { code: string }).code }).toEqual({
      status: 504,
      code: 'gateway_timeout',
    });
    answer = CAPTURED;
    expect(await service.nest.get(Recovery).runOnce()).toBe(1);
    const [first, ...again] = received;
    expect(again.length).toBeGreaterThan(0);
    for (const each of again) expect(each).toEqual(first);
    expect(await effects(database)).toEqual({ ...NOTHING, succeeded: 1, completed: 1 });
  });
});
