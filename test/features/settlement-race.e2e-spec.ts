// Goal: prove that a charge gets its reply although another transaction, such as that of a webhook, changes it at the same time.
// Method: hold the answer of the bank and the row of the charge, and change the charge elsewhere while the settlement waits for the row.
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

const CHANGES = [
  {
    change: 'its settlement by a webhook',
    set: `status = 'succeeded', settled_at = clock_timestamp()`,
    description: null,
  },
  { change: 'another description', set: `description = 'without the name'`, description: 'without the name' },
];
const CASES = CHANGES.flatMap((change) => ['64', '1'].map((size) => ({ ...change, size })));

describe('a charge that another transaction changes while it is settled', () => {
  it.each(CASES)(
    'gets its reply, keeps $change, and is captured once, in groups of at most $size',
    async ({ set, description, size }) => {
      await reset(database);
      const service = await startService(database.url, {
        GATEWAY_URL: bank.url,
        IDEMPOTENCY_GROUP_SIZE: size,
      });
      const answer = bank.holdAnswer();
      const charged = service.charge('raced');
      await answer.reached.given;
      await other.query(`BEGIN; UPDATE charges SET ${set}`);
      answer.open();
      await until(async () => (await lockWaiters(database)) > 0);
      await other.query('COMMIT');
      expect(await charged).toMatchObject({ status: 200, body: { status: 'succeeded' } });
      expect(await database.sql('SELECT status, description FROM charges')).toEqual([
        { status: 'succeeded', description },
      ]);
      expect(await effects(database)).toEqual(ONE_CHARGE);
      await service.stop();
    },
  );
});
