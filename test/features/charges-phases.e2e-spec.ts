// Goal: prove that the statements of a charge do the same as the plain form in docs/adr/0024-a-phase-may-be-one-statement.md.
// Method: run both forms over the same requests, one after the other, and compare results and rows.
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import type { Charge } from '../../src/charges/charge.entity.js';
import { type NewCharge, openCharge, type Settlement, settleCharge } from '../../src/charges/charges.phases.js';
import { runPhase } from '../../src/idempotency/commit/unit.js';
import type { AnyPhase, PhaseItem, Reply } from '../../src/idempotency/index.js';
import { inTransaction } from '../../src/postgres/transaction.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { openChargePlainly, settleChargePlainly } from '../support/plain-charges.js';
import { startService, type TestService } from '../support/service.js';
import { reset } from '../support/state.js';

let database: TestDatabase;
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url);
});
beforeEach(() => reset(database));
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

const REQUESTS = [randomUUID(), randomUUID(), randomUUID()];
const INPUTS = [
  { amount: 1999, currency: 'eur' },
  { amount: 5, currency: 'usd', order_id: 'order_1', description: 'a mug', metadata: { colour: 'blue' } },
  { amount: 7, currency: 'eur', source: 'tok_chargeDeclined' },
].map((input) => ({ ...input, gateway: 'simulated' })) as NewCharge[];
const DECISIONS = [
  { status: 'succeeded' },
  { status: 'succeeded' },
  { status: 'failed', declineCode: 'generic_decline' },
] as const;

const itemOf = <Input>(input: Input, i: number): PhaseItem<Input> => ({
  accountId: 'acct_demo',
  requestId: REQUESTS[i] as string,
  isRecorded: true,
  input,
});

const run = <Input, Result>(phase: AnyPhase<Input, Result>, inputs: Input[]) =>
  inTransaction(
    service.nest.get(DataSource),
    (tx) =>
      runPhase(tx, phase as AnyPhase<never, unknown>, inputs.map(itemOf) as PhaseItem<never>[]) as Promise<Result[]>,
  );

/** Runs each phase twice, as a retry does, and returns all that the phases leave, without times. */
async function chargeTwice(open: AnyPhase<NewCharge, Charge>, settle: AnyPhase<Settlement, Reply>) {
  await run(open, INPUTS);
  const charges = await run(open, INPUTS);
  const settlements = charges.map((charge, i) => ({
    charge,
    authorization: DECISIONS[i] as Settlement['authorization'],
  }));
  await run(settle, settlements);
  const replies = await run(settle, settlements);
  const rows = await database.sql<Charge>('SELECT * FROM charges ORDER BY id');
  const messages = await database.sql('SELECT account_id, id, type, data FROM outbox ORDER BY id');
  const sameTimes = charges.map(({ id, created_at }) => [id, created_at.getTime()]).sort();
  expect(rows.map(({ id, created_at }) => [id, created_at.getTime()])).toEqual(sameTimes);
  return {
    statuses: replies.map(({ status }) => status),
    rows: rows.map(({ created_at, settled_at, ...row }) => ({ ...row, isSettled: settled_at! >= created_at })),
    messages,
  };
}

describe('the two forms of the phases of a charge', () => {
  it('leave the same rows, messages and replies, also if they are repeated', async () => {
    const byStatements = await chargeTwice(openCharge, settleCharge);
    await reset(database);
    const plainly = await chargeTwice(openChargePlainly, settleChargePlainly);
    expect(byStatements).toEqual(plainly);
    expect(plainly).toMatchObject({ statuses: [200, 200, 402] });
    expect([plainly.rows.length, plainly.messages.length]).toEqual([3, 2]);
  });
});

describe('a charge whose row is missing', () => {
  it('is not reported as settled', async () => {
    const [charge] = await run(openCharge, INPUTS.slice(0, 1));
    await database.sql('DELETE FROM charges');
    const settlement = { charge: charge as Charge, authorization: DECISIONS[0] as Settlement['authorization'] };
    await expect(run(settleCharge, [settlement])).rejects.toThrow(
      /null value in column "account_id" of relation "outbox"/,
    );
  });
});
