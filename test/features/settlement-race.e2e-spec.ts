// Goal: prove that a charge gets its reply although another transaction, such as that of a webhook, settles it at the same time.
// Method: hold the answer of the bank and the row of the charge, and settle the charge elsewhere while the settlement waits for the row.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Client } from 'pg';
import { startBank, type TestBank } from '../support/bank.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { startService } from '../support/service.js';
import { effects, ONE_CHARGE, reset } from '../support/state.js';
import { until } from '../support/waiting.js';

let database: TestDatabase;
let bank: TestBank;
let other: Client;
beforeAll(async () => {
  database = await createDatabase();
  bank = await startBank(database);
  other = await connect(database.url);
});
afterAll(async () => {
  await other?.end();
  await bank?.close();
  await database?.drop();
});

describe('a charge that another transaction settles at the same time', () => {
  it.each(['64', '1'])('gets its reply, and is captured once, in groups of at most %s', async (size) => {
    await reset(database);
    const service = await startService(database.url, {
      GATEWAY_URL: bank.url,
      IDEMPOTENCY_GROUP_SIZE: size,
    });
    const answer = bank.holdAnswer();
    const charged = service.charge('raced');
    await answer.reached.given;
    await other.query(`BEGIN; UPDATE charges SET status = 'succeeded', settled_at = clock_timestamp()`);
    answer.open();
    await until(async () => (await lockWaiters(database)) > 0);
    await other.query('COMMIT');
    expect(await charged).toMatchObject({ status: 200, body: { status: 'succeeded' } });
    expect(await effects(database)).toEqual(ONE_CHARGE);
    await service.stop();
  });
});
