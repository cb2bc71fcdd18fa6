// Goal: the suites of several machines (failover, pooler, cells) find what a database has lost, doubled or changed.
// Method: run the load against the service, change rows behind its back, and compare again.
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { compare, underLoad } from '../../harness/accounting.js';
import { Load, longestGap } from '../../harness/load.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';

const REQUESTS = 40;

describe('the load and its comparison with the database', () => {
  let database: TestDatabase;
  let service: TestService;
  let load: Load;
  const options = () => ({ urls: [service.url], accounts: [{ id: 'acct_demo', secret: 'unused' }], clients: 4 });
  const result = () => compare(load.acknowledgements, database.sql);

  beforeAll(async () => {
    database = await createDatabase();
    service = await startService(database.url);
    load = await Load.start(options());
    await load.acknowledges(REQUESTS);
    await load.stop();
  });

  afterAll(async () => {
    await service.stop();
    await database.drop();
  });

  /** The result after a statement that is undone. */
  async function resultAfter(statement: string) {
    await database.sql('BEGIN');
    try {
      await database.sql(statement);
      return await result();
    } finally {
      await database.sql('ROLLBACK');
    }
  }

  it('finds nothing lost, doubled or different after a load without faults', async () => {
    const { acknowledged, ...faults } = await result();
    expect(acknowledged).toBe(load.acknowledgements.length);
    expect(acknowledged).toBeGreaterThanOrEqual(REQUESTS);
    expect(faults).toEqual({ lost: 0, doubled: 0, differing: 0 });
    expect([...load.refusals]).toEqual([]);
  });

  it('counts an acknowledged request as lost if its key, its charge, its capture or its order is missing', async () => {
    const key = (path: string, status: number) =>
      load.acknowledgements.find((each) => each.path === path && each.status === status)?.key ?? '';
    const [charge, declined, order] = [key('/charges', 200), key('/charges', 402), key('/orders', 200)];
    for (const statement of [
      `DELETE FROM processed_requests WHERE idempotency_key = '${order}'`,
      `DELETE FROM charges WHERE description = '${declined}'`,
      `DELETE FROM bank.captures WHERE charge_id = (SELECT id FROM charges WHERE description = '${charge}')`,
    ]) {
      expect({ statement, ...(await resultAfter(statement)) }).toMatchObject({ statement, lost: 1, doubled: 0 });
    }
    expect(await resultAfter(`DELETE FROM orders WHERE order_id = '${order}'`)).toMatchObject({ lost: 1, doubled: 1 });
  });

  it('counts a second charge, a capture without a charge, and stock that was taken twice as doubled', async () => {
    for (const statement of [
      `INSERT INTO charges SELECT (jsonb_populate_record(charges, '{"id": "ch_second"}')).* FROM charges
       WHERE status = 'failed' LIMIT 1`,
      `INSERT INTO bank.captures (account_id, idempotency_key, charge_id, amount, currency)
       VALUES ('acct_demo', 'ch_none', 'ch_none', 1, 'eur')`,
      'UPDATE inventory SET stock = stock - 1',
    ]) {
      expect({ statement, ...(await resultAfter(statement)) }).toMatchObject({ statement, lost: 0, doubled: 1 });
    }
  });

  it('counts a recorded reply that is not the reply of the client as different', async () => {
    const change = `UPDATE processed_requests SET response_body = response_body || ' '
                    WHERE idempotency_key = '${load.acknowledgements[0]?.key}'`;
    expect(await resultAfter(change)).toMatchObject({ lost: 0, doubled: 0, differing: 1 });
  });

  it('ends the load if the work under it fails, and passes the error on', async () => {
    const begun: Load[] = [];
    const fail = async (running: Load) => {
      begun.push(running);
      await running.acknowledges(1);
      throw new Error('The work has failed');
    };
    await expect(underLoad(options(), database.sql, fail)).rejects.toThrow('The work has failed');
    const before = begun[0]?.acknowledgements.length;
    await underLoad(options(), database.sql, async (next) => String(await next.acknowledges(REQUESTS)));
    expect(begun[0]?.acknowledgements.length).toBe(before);
  });

  it('measures the longest time between two replies', () => {
    expect(longestGap([10, 12, 17, 18])).toBe(5);
    expect(longestGap([10])).toBe(0);
  });
});
