// Goal: show that the client with fetch of docs/clients.md charges once and gets the right answer, through every loss of the line.
// Method: charge through a line that damages the answers, for all losses at the same time, because most of the time is waiting.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { HeldBank } from '../clients/held-bank.js';
import { CLIENT_TIMEOUT_MS, LOSSES, SETTINGS } from '../clients/losses.js';
import { LossyLine } from '../clients/lossy-line.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';

type ChargeClient = (
  url: string,
  key: string,
  body: object,
  timeoutMs: number,
) => Promise<{ id: string; object: string }>;

/** The statuses that a client with fetch gets, in order; `undefined` for an answer that did not arrive. */
const EXPECTED: Record<string, (number | undefined)[]> = {
  'reply lost twice': [undefined, undefined, 200],
  'body cut in half': [undefined, 200],
  'broken after the request': [undefined, 200],
  '504': [504, 200],
  '502 of a proxy': [502, 200],
  'no answer': [undefined, 200],
};

let database: TestDatabase;
let service: TestService;
let bank: HeldBank;
let line: LossyLine;
const replies = new Map<string, { id: string; object: string }>();

beforeAll(async () => {
  database = await createDatabase();
  bank = await HeldBank.start(database.sql);
  service = await startService(database.url, { ...SETTINGS, GATEWAY_URL: bank.url });
  line = await LossyLine.start(service.url, bank);
  // A variable, because the client is plain JavaScript without types.
  const path: string = '../clients/javascript/fetch.js';
  const { charge } = (await import(path)) as { charge: ChargeClient };
  await Promise.all(
    LOSSES.map(async ({ title, damages, source }, i) => {
      line.plan(title.replaceAll(' ', '-'), damages);
      const body = { ...CHARGE, amount: CHARGE.amount + i, source, description: title };
      replies.set(title, await charge(line.url, title.replaceAll(' ', '-'), body, CLIENT_TIMEOUT_MS));
    }),
  );
});
afterAll(async () => {
  await line?.close();
  await service?.stop();
  await bank?.close();
  await database?.drop();
});

describe('the client with fetch of docs/clients.md', () => {
  it.each(LOSSES)('charges once and gets this charge as its answer, after the loss "$title"', async ({ title }) => {
    const charges = await database.sql<{ id: string; status: string; captures: number }>(`
      SELECT id, status, (SELECT count(*)::int FROM bank.captures WHERE charge_id = charges.id) AS captures
      FROM charges WHERE description = '${title}'`);
    expect(charges).toEqual([{ id: replies.get(title)?.id, status: 'succeeded', captures: 1 }]);
    expect(replies.get(title)?.object).toBe('charge');
  });

  it.each(Object.entries(EXPECTED))(
    'gets the answers of the service in this order, after the loss "%s": %j',
    (title, statuses) => {
      // A duplicate gets a 409 if a busy machine takes longer for the charge than the client pauses.
      const seen = line.attempts(title.replaceAll(' ', '-')).map(({ status }) => status);
      expect(seen.filter((status) => status !== 409)).toEqual(statuses);
    },
  );

  it('gets 409 from the duplicate of a request in flight, waits for Retry-After, and then gets the charge', () => {
    const attempts = line.attempts('409-while-the-bank-is-slow');
    expect(attempts[0]).toMatchObject({ status: 409, retryAfterSeconds: 1 });
    expect(attempts.at(-1)).toMatchObject({ status: 200 });
  });
});
