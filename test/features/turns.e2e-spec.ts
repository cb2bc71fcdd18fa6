// Goal: prove that requests without a group commit take turns between accounts, so that no account keeps every connection.
// Method: block one row in the database while another account charges, and call `Turns` directly.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Turns } from '../../src/accounts/turns.js';
import { call, statusesOf, TWO_ACCOUNTS } from '../support/client.js';
import { connect, createDatabase, lockWaiters, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { until } from '../support/waiting.js';

let database: TestDatabase;
let service: TestService;

beforeAll(async () => {
  database = await createDatabase();
  service = await startService(database.url, { ...TWO_ACCOUNTS, DATABASE_POOL_SIZE: '4' });
});
afterAll(async () => {
  await service?.stop();
  await database?.drop();
});

describe('a row that blocks one account', () => {
  it('leaves connections for the charges of one account while 20 requests of another wait for one row', async () => {
    const put = () => call(service.url, 'PUT', '/inventory/beans', { account: 'acct_a', body: { stock: 1 } });
    await put();
    const holder = await connect(database.url);
    try {
      await holder.query('BEGIN; SELECT FROM inventory FOR UPDATE');
      const waiting = Promise.all(Array.from({ length: 20 }, put));
      await until(async () => (await lockWaiters(database)) >= 2);
      const charge = await call(service.url, 'POST', '/charges', { account: 'acct_b', key: 'order_1', body: CHARGE });
      expect(charge.status).toBe(200);
      await holder.query('COMMIT');
      expect(statusesOf(await waiting)).toEqual({ 200: 20 });
    } finally {
      await holder.end();
    }
  });
});

describe('Turns', () => {
  const PATIENT_MS = 60_000;

  it('gives turns to the waiting accounts one after the other, however many requests each has', async () => {
    const turns = new Turns(1, PATIENT_MS);
    const end = await turns.wait('a', 0);
    const order: string[] = [];
    const all = ['a', 'a', 'a', 'b', 'a', 'b', 'c'].map(async (account) => {
      const endOfTurn = await turns.wait(account, 0);
      order.push(account);
      endOfTurn();
    });
    end();
    await Promise.all(all);
    expect(order).toEqual(['a', 'b', 'c', 'a', 'b', 'a', 'a']);
  });

  it('gives a turn to the next request when a turn ends', async () => {
    const turns = new Turns(2, PATIENT_MS);
    for (let i = 0; i < 5; i++) (await turns.wait('a', 0))();
    const ends = [await turns.wait('a', 0), await turns.wait('a', 0)];
    let isIn = false;
    const third = turns.wait('b', 0).then(() => (isIn = true));
    expect(isIn).toBe(false);
    ends[0]?.();
    await third;
    expect(isIn).toBe(true);
  });

  it('refuses a turn to a request that has waited too long, and still gives turns to others', async () => {
    const turns = new Turns(1, 1);
    const end = await turns.wait('a', 0);
    await expect(turns.wait('a', 0)).rejects.toThrow('too late');
    end();
    (await turns.wait('b', 0))();
    (await turns.wait('a', 0))();
  });

  it('refuses a turn to an account whose waiting requests use half of the memory, and to no other account', async () => {
    const turns = new Turns(1, PATIENT_MS);
    const end = await turns.wait('a', 0);
    const waiting = Array.from({ length: 2_048 }, () => turns.wait('a', 0).then((endOfTurn) => endOfTurn()));
    await expect(turns.wait('a', 0)).rejects.toThrow('too much waits');
    const other = turns.wait('b', 0).then((endOfTurn) => endOfTurn());
    end();
    await Promise.all([...waiting, other]);
  });
});
