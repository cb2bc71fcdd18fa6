// Goal: prove that a service recovers by itself when its connections have become read-only, as after a failover that leaves them open.
// Method: open connections while the database is read-only, make the database writable for new connections, and write.
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import type { Charge } from '../../src/charges/charge.entity.js';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import { Recovery } from '../../src/idempotency/upkeep/recovery.js';
import { Sweeper } from '../../src/idempotency/upkeep/sweeper.js';
import { Relay } from '../../src/messaging/relay.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { startService, type TestService } from '../support/service.js';

let database: TestDatabase;
let name: string;
let service: TestService;
beforeEach(async () => {
  database = await createDatabase();
  name = new URL(database.url).pathname.slice(1);
});
afterEach(async () => {
  await service?.stop();
  await database?.drop();
});

/** Starts a service all of whose connections are read-only, on a database in which new connections can write. */
async function startReadOnly(): Promise<void> {
  await database.sql(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
  service = await startService(database.url, { DATABASE_POOL_SIZE: '2' });
  const dataSource = service.nest.get(DataSource);
  const runners = [dataSource.createQueryRunner(), dataSource.createQueryRunner()];
  await Promise.all(runners.map((runner) => runner.connect()));
  await Promise.all(runners.map((runner) => runner.release()));
  await database.sql(`ALTER DATABASE ${name} RESET default_transaction_read_only`);
}

const ORDER = { order_id: 'order_1', items: [{ item_id: 'book', quantity: 1, unit_amount: 500 }] };
const CAPTURE = { account_id: 'acct_demo', id: 'ch_1', amount: 500, currency: 'eur', source: 'tok_visa' } as Charge;
const CUSTOMER = { name: 'Ada', email: 'ada@example.com', status: 'active' };
const isDone = async (response: Promise<{ status: number }>) => (await response).status < 300;
const isAccepted = (work: Promise<unknown>) =>
  work.then(
    () => true,
    () => false,
  );

/** Writes of requests, of the bank and of workers. Each returns whether it succeeded, and uses one connection unless `CONNECTIONS` says more. */
const WRITES: [string, () => Promise<boolean>][] = [
  ['a charge', () => isDone(service.charge('key'))],
  ['an order without a key', () => isDone(service.http.post('/orders').send(ORDER))],
  ['a stock level', () => isDone(service.http.put('/inventory/book').send({ stock: 1 }))],
  ['the removal of an item', () => isDone(service.http.delete('/inventory/book'))],
  ['a customer', () => isDone(service.http.put('/customers/ada').send(CUSTOMER))],
  ['a customer that exists', () => isDone(service.http.put('/customers/ada').set('if-match', '*').send(CUSTOMER))],
  ['the removal of a customer', () => isDone(service.http.delete('/customers/ada'))],
  ['a capture of the bank', () => isAccepted(service.nest.get(PaymentGateway).authorize(CAPTURE, performance.now()))],
  ['recovery', () => isAccepted(service.nest.get(Recovery).runOnce())],
  ['the sweep', () => isAccepted(service.nest.get(Sweeper).runOnce())],
  ['the relay', () => isAccepted(service.nest.get(Relay).runOnce())],
];

/**
 * Recovery uses a connection for each of the two operations that it resumes, and the relay uses a second connection to release the messages that it
 * could not deliver. So one run closes both connections.
 */
const CONNECTIONS: Record<string, number | undefined> = { recovery: 2, 'the relay': 2 };

describe('a service whose connections have all become read-only', () => {
  it.each(WRITES)('closes each of them at its first write, so that it can write again: %s', async (name, write) => {
    await database.sql(
      `INSERT INTO inventory VALUES ('acct_demo', 'book', 10);
       INSERT INTO customers VALUES ('acct_demo', 'ada', 'Ada', 'ada@example.com', 'active', 1)`,
    );
    await startReadOnly();
    const results = [await write(), await write(), await write()];
    expect(results).toEqual(CONNECTIONS[name] === 2 ? [false, true, true] : [false, false, true]);
    expect((await service.http.get('/health/ready')).status).toBe(200);
  });
});
