// Goal: prove how the service talks to a bank over HTTP: what it sends, and that only an understood answer decides a charge.
// Method: start an HTTP server as the bank, answer as each test says, and compare requests, charges and log.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Recovery } from '../../src/idempotency/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { killAll, spawnService } from '../support/process.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, NOTHING, reset } from '../support/state.js';

/** A request that the bank received. */
interface Received {
  key: string | string[] | undefined;
  body: unknown;
}

let database: TestDatabase;
let service: TestService;
/** Gives up on the bank after 0.3 s. */
let hasty: TestService;
let bank: Server;
let received: Received[];
/** Answers a request to the bank. Each test sets its own. */
let answer: (response: ServerResponse) => void;

const answerWith = (status: number, body: string) => (response: ServerResponse) =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(body);
const CAPTURED = answerWith(200, '{}');

const bankUrl = () => `http://127.0.0.1:${(bank.address() as AddressInfo).port}/bank/`;

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
  service = await startService(database.url, { GATEWAY_URL: bankUrl() });
  hasty = await startService(database.url, { GATEWAY_URL: bankUrl(), GATEWAY_TIMEOUT_MS: '300' });
});
beforeEach(() => void (received = []));
afterEach(() => reset(database));
afterAll(async () => {
  await killAll();
  await service?.stop();
  await hasty?.stop();
  bank?.closeAllConnections();
  await new Promise((resolve) => bank?.close(resolve));
  await database?.drop();
});

describe('a gateway over HTTP', () => {
  it('asks the bank to capture with the id of the charge as the idempotency key', async () => {
    answer = CAPTURED;
    const charge = await service.charge('asked', { ...CHARGE, source: 'tok_mastercard' });
    expect(charge.status).toBe(200);
    const { id } = charge.body as { id: string };
    const { amount, currency } = CHARGE;
    const body = { account_id: 'acct_demo', charge_id: id, amount, currency, source: 'tok_mastercard' };
    expect(received).toEqual([{ key: id, body }]);
    expect(await effects(database)).toEqual({ ...NOTHING, succeeded: 1, completed: 1 });
  });

  it('records a decline of the bank, with its reason, as the 402 that every retry gets', async () => {
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
    ['a decline whose code holds U+0000', answerWith(402, '{"decline_code": "do_not\\u0000honor"}')],
    ['a decline whose code holds half a surrogate pair', answerWith(402, '{"decline_code": "\\ud83d"}')],
    ['a decline whose code is a card number', answerWith(402, '{"decline_code": "4242424242424242"}')],
    ['a decline whose code is longer than 64 characters', answerWith(402, `{"decline_code": "${'x'.repeat(65)}"}`)],
    ['a decline whose code is not text', answerWith(402, '{"decline_code": 51}')],
    ['a decline of 20 MB', answerWith(402, `{"decline_code": "${'x'.repeat(20_000_000)}"}`)],
    ['a body that is not JSON', answerWith(200, 'OK')],
    ['a body that is null', answerWith(200, 'null')],
    ['a body that is a list', answerWith(200, '[]')],
    ['an empty body', answerWith(200, '')],
    ['a capture that is longer than 4 KiB', answerWith(200, `{"id": "${'x'.repeat(4_096)}"}`)],
    ['a connection that breaks', (response: ServerResponse) => void response.destroy()],
  ])(
    'leaves the charge pending when the bank answers with %s, and asks again with the same key',
    async (_, failure) => {
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
    },
  );

  it.each(['do_not_honor', '51', 'R1-a.b', 'x'.repeat(64)])(
    'passes the decline code %s of the bank on to the client',
    async (code) => {
      answer = answerWith(402, JSON.stringify({ decline_code: code, more: 'is ignored' }));
      const declined = await service.charge('coded');
      expect(declined.body).toMatchObject({ code: 'card_declined', decline_code: code });
    },
  );

  it('accepts any JSON object of up to 4 KiB as the answer to a capture', async () => {
    answer = answerWith(200, JSON.stringify({ id: 'x'.repeat(4_000), amount: null }));
    expect((await service.charge('wordy')).status).toBe(200);
  });

  it('closes the connection to a bank whose answer does not end, so that one answer cannot fill the memory', async () => {
    const hungUp = new Promise((resolve) => {
      answer = (response) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.once('close', resolve);
        const more = () => {
          // Writes so fast that the limit in size is reached before any limit in time.
          while (!response.destroyed && response.write('x'.repeat(65_536)));
          response.once('drain', more);
        };
        more();
      };
    });
    // The limit in time is an hour, so that only the limit in size can end the answer.
    const patient = await startService(database.url, { GATEWAY_URL: bankUrl(), GATEWAY_TIMEOUT_MS: '3600000' });
    try {
      expect((await patient.charge('endless')).body).toMatchObject({ code: 'gateway_unavailable', outcome: 'unknown' });
      await hungUp;
    } finally {
      await patient.stop();
    }
  });

  it('never quotes an answer of the bank in the log when it does not understand the answer', async () => {
    const served = await spawnService(database.url, { GATEWAY_URL: bankUrl() });
    for (const [status, body] of [
      [402, '{"decline_code": "a secret, in words"}'],
      [200, 'a secret, in words'],
    ] as const) {
      answer = answerWith(status, body);
      const headers = { 'content-type': 'application/json', 'idempotency-key': 'quoted' };
      const refused = await fetch(`${served.url}/charges`, { method: 'POST', headers, body: JSON.stringify(CHARGE) });
      expect(refused.status).toBe(503);
    }
    served.signal('SIGTERM');
    await served.ended;
    const log = served.output.join('\n');
    expect(log).toContain('not a decision that this service understands');
    expect(log).not.toContain('secret');
  });

  it('answers 504 when the bank does not answer in time, and recovery asks again with the same key', async () => {
    answer = () => undefined;
    let late = await hasty.charge('late');
    // On a busy machine the timeout may end before the request reaches the bank.
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
