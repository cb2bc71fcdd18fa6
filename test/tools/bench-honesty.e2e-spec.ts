// Goal: the benchmark fails if a measured charge is missing one of its effects, whether or not the outbox keeps messages that were published.
// Method: make charges, change rows behind the back of the service, and check again.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type AllEffects, type BenchDatabase, BenchServer } from '../../bench/database.js';
import { checkHonesty, type Expectation } from '../../bench/honesty.js';
import type { Measurement } from '../../bench/measurement.js';
import { startService, type TestService } from '../support/service.js';

const CHARGES = 3;
const EACH: Expectation = { effects: 'each', keyed: true };

const MIXED: Expectation = { operation: 'mixed', effects: 'none', keyed: true };

const measured = (requests: number): Measurement => ({
  ...{ sent: requests, answered: requests, refused: 0, broken: 0, mismatched: 0, statuses: {} },
  ...{ requestsPerSecond: 1, p50Ms: 1, p99Ms: 1, senderLoad: 0 },
});

describe('the honesty of a measurement', () => {
  let server: BenchServer;
  let database: BenchDatabase;
  let service: TestService;
  let before: AllEffects;
  const check = (expectation: Expectation, requests: number) =>
    checkHonesty(expectation, measured(requests), database, before);
  const send = async (path: string, body: object, headers: Record<string, string> = {}) => {
    const response = await fetch(`${service.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    expect([response.status, await response.text()]).toEqual([200, expect.anything()]);
  };
  const charge = (key: string) => send('/charges', { amount: 1999, currency: 'eur' }, { 'idempotency-key': key });

  beforeAll(async () => {
    server = await BenchServer.start();
    database = await server.createDatabase('honesty');
    service = await startService(database.url, { RELAY_INTERVAL_MS: '50' });
    before = await database.effects();
    for (let i = 0; i < CHARGES; i++) await charge(`honest-${i}`);
    await database.quiescence();
  });

  afterAll(async () => {
    await service.stop();
    await server.stop();
  });

  it('accepts charges whose messages took effect and left no row, and charges whose messages are in the outbox', async () => {
    expect(await database.sql('SELECT * FROM outbox')).toEqual([]);
    await check(EACH, CHARGES);
    await database.sql(`
      WITH without AS (UPDATE balances SET amount = amount - 1999)
      INSERT INTO outbox VALUES ('acct_demo', 'a', 'charge.succeeded', '{"amount": 1999}', now(), now(), 0, now())`);
    await check(EACH, CHARGES);
  });

  it('expects seven charges and one order without a recorded key of ten mixed requests, and nine charges if replays repeat', async () => {
    await expect(check(MIXED, 10)).rejects.toThrow(
      /3 charges were made, expected 7 to 7; 0 orders were made, expected 1 to 1/,
    );
    for (let i = CHARGES; i < 7; i++) await charge(`honest-${i}`);
    await send('/orders', { order_id: 'honest', items: [{ item_id: 'item_01', quantity: 1, unit_amount: 1999 }] });
    await check(MIXED, 10);
    await expect(check({ ...MIXED, replaysHaveEffects: true }, 10)).rejects.toThrow(
      '7 charges were made, expected 9 to 9',
    );
  });

  // The deletions add up, so these tests come last.
  it.each([
    [
      'a message',
      'UPDATE balances SET amount = amount - 1999 WHERE $1::text IS NOT NULL',
      'charges of 13993 were made, and 11994 were announced',
    ],
    ['a capture', 'DELETE FROM bank.captures WHERE charge_id LIKE $1', '6 captures for 7 charges'],
    [
      'a recorded key',
      'DELETE FROM processed_requests WHERE response_body LIKE $1',
      '6 keys were recorded for 7 charges',
    ],
  ])('refuses a measurement in which %s of a charge is missing', async (_, statement, message) => {
    const [row] = await database.sql<{ id: string }>('SELECT id FROM charges LIMIT 1');
    await database.sql(statement, [`%${row?.id}%`]);
    await expect(check(MIXED, 10)).rejects.toThrow(message);
  });
});
