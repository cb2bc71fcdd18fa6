import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Arena } from '../chaos/arena.js';
import { ObservedDatabase } from '../chaos/database-state.js';
import { FAULTS } from '../chaos/faults.js';
import { Random } from '../chaos/random.js';
import { ACCOUNTS } from '../chaos/replicas.js';
import { connect, createDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/waiting.js';

describe('the faults of a chaos run', () => {
  let database: TestDatabase;
  beforeEach(async () => void (database = await createDatabase()));
  afterEach(() => database.drop());

  it('terminates every second connection, and reports the number of them', async () => {
    // The test itself has one more connection.
    for (let n = 0; n < 7; n++) await connect(database.url);
    const landed: string[] = [];
    const arena = { database: new ObservedDatabase(database.url) } as Arena;
    await FAULTS['connections terminated'](arena, new Random(1), (about) => landed.push(about ?? ''));
    expect(landed).toEqual(['4 connections']);
    let left = Infinity;
    await until(async () => (left = Number((await arena.database.query(CONNECTIONS))[0]?.['count'])) <= 4);
    expect(left).toBe(4);
  });

  it('locks the balance of one account until a statement waits for it, and leaves the balances as they were', async () => {
    let isOver = false;
    const writing = ACCOUNTS.map(async (account) => {
      const client = await connect(database.url);
      let sum = 0;
      while (!isOver) sum += (await client.query(ADD, [account])).rowCount ?? 0;
      return { account_id: account, amount: sum };
    });
    await until(async () => (await database.sql('SELECT FROM balances')).length === ACCOUNTS.length);
    const landed: string[] = [];
    const arena = { database: new ObservedDatabase(database.url) } as Arena;
    await FAULTS['balance locked'](arena, new Random(1), (about) => landed.push(about ?? ''));
    isOver = true;
    const sums = await Promise.all(writing);
    expect(landed).toEqual([expect.stringMatching(`^(${ACCOUNTS.join('|')})$`)]);
    const balances = await database.sql('SELECT account_id, amount::integer FROM balances ORDER BY account_id');
    expect(balances).toEqual(sums);
  });

  it('cancels running statements of its own database repeatedly, and reports the number of them', async () => {
    const client = await connect(database.url);
    let isOver = false;
    let cancelled = 0;
    const work = async () => {
      while (!isOver) await client.query('SELECT pg_sleep(10)').catch(() => cancelled++);
    };
    const working = work();
    const neighbour = await createDatabase();
    const sleeping = (await connect(neighbour.url)).query('SELECT pg_sleep(60)').then(String, String);
    const landed: string[] = [];
    const arena = { database: new ObservedDatabase(database.url) } as Arena;
    await FAULTS['statements cancelled'](arena, new Random(1), (about) => landed.push(about ?? ''));
    isOver = true;
    await client.end();
    await working;
    expect(landed).toEqual([expect.stringMatching(/^[1-9]\d* statements$/)]);
    // The last statement ended with its connection and is not counted.
    expect(cancelled).toBeGreaterThan(1);
    // The fault does not cancel statements of other databases: this statement runs until its database is dropped.
    await neighbour.drop();
    expect(await sleeping).not.toContain('due to user request');
  });
});

const ADD = `
  INSERT INTO balances AS balance VALUES ($1, 'eur', 1)
  ON CONFLICT (account_id, currency) DO UPDATE SET amount = balance.amount + 1`;

const CONNECTIONS = `
  SELECT count(*) FROM pg_stat_activity
  WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`;
