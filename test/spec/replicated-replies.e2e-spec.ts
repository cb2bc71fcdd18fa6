// Goal: specify that nothing is acknowledged that a failover can lose, if PostgreSQL replicates synchronously.
// Method: kill the only standby, break off the wait of a COMMIT, repeat the request, and promote the standby.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import type { Response } from 'supertest';
import { DataSource } from 'typeorm';
import { PostgresCluster } from '../../harness/postgres-cluster.js';
import { dataSourceOptions } from '../../src/database/data-source.js';
import { migrate } from '../../src/database/migrate.js';
import { processBatch } from '../../src/messaging/process-batch.js';
import { COMMITTERS_ALONE, useCommitter } from '../support/committers.js';
import { message } from '../support/messages.js';
import { replyOf, startService, type TestService } from '../support/service.js';
import { until } from '../support/waiting.js';

let directory: string;
let cluster: PostgresCluster;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'payments-replicated-'));
  cluster = await PostgresCluster.start(directory, 1, 'quorum');
  await migrate(await cluster.primary.url());
});
afterEach(async () => {
  // A test that failed has left the standby dead, and every COMMIT of the next test would wait for it.
  if (!theStandby().isRunning) await theStandby().start();
  await Promise.all(started.splice(0).map((service) => service.stop()));
});
afterAll(async () => {
  await cluster?.remove();
  await rm(directory, { recursive: true, force: true });
});

const started: TestService[] = [];
async function start(): Promise<TestService> {
  const service = await startService(await cluster.primary.url());
  started.push(service);
  return service;
}

const theStandby = () => {
  const [standby] = cluster.standbys;
  if (!standby) throw new Error('The cluster has no standby');
  return standby;
};

/** When each COMMIT that waits for a standby was sent. */
const waits = async () =>
  (
    await cluster.primary.sql<{ at: string }>(
      "SELECT query_start::text AS at FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
    )
  ).map(({ at }) => at);

/** Breaks off every wait for a standby, once there is one. PostgreSQL has committed these transactions, and no standby has them. */
async function breakOffWaits(how: 'pg_terminate_backend' | 'pg_cancel_backend'): Promise<void> {
  await until(async () => (await waits()).length > 0);
  await cluster.primary.sql(`SELECT ${how}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`);
}

describe.each(COMMITTERS_ALONE)('requests that are committed %s:', (committer) => {
  useCommitter(committer);

  const place = (service: TestService, order_id: string, headers: Record<string, string>): Promise<Response> =>
    service.http
      .post('/orders')
      .set(headers)
      .send({ order_id, items: [{ item_id: 'book', quantity: 1, unit_amount: 500 }] })
      .then((response) => response);

  it.each([
    ['an idempotency key', (name: string) => ({ 'idempotency-key': name })],
    ['the number of an order', () => ({})],
  ])('acknowledges nothing that a failover loses, if requests are repeated by %s', async (by, headersOf) => {
    const name = `${committer} by ${by}`.replaceAll(' ', '-');
    const send = (service: TestService) => place(service, name, headersOf(name));
    const [first, second] = [await start(), await start()];
    await first.http.put('/inventory/book').send({ stock: 1_000 });
    await theStandby().kill();

    const answers: Response[] = [];
    const sent = [send(first)];
    await breakOffWaits('pg_terminate_backend');
    sent.push(send(second));
    sent.forEach((answer) => void answer.then((response) => answers.push(response)));
    await until(async () => answers.length + (await waits()).length === 2);
    await cluster.primary.kill();
    await theStandby().start();
    await cluster.discard(await cluster.failOver());
    await cluster.addStandby();

    const final = await send(await start());
    expect(final.status).toBe(200);
    const acknowledged = (await Promise.all(sent)).filter(({ status }) => status === 200);
    expect(acknowledged.map(replyOf)).toEqual(acknowledged.map(() => replyOf(final)));
  });

  it('takes a COMMIT for in doubt if its wait for a standby was cancelled, and answers when a standby has it', async () => {
    const service = await start();
    await service.http.put('/inventory/book').send({ stock: 1_000 });
    await theStandby().kill();
    const name = `${committer} cancelled`.replaceAll(' ', '-');
    let isAnswered = false;
    const answer = place(service, name, { 'idempotency-key': name }).finally(() => (isAnswered = true));
    await until(async () => (await waits()).length === 1);
    const before = await waits();
    await breakOffWaits('pg_cancel_backend');
    await until(async () => isAnswered || (await waits()).some((at) => !before.includes(at)));
    expect(isAnswered).toBe(false);
    await theStandby().start();
    const response = await answer;
    expect(response.status).toBe(200);
    expect(response.headers['idempotent-replayed']).toBeUndefined();
  });

  it('acknowledges a repeated DELETE only if a standby knows that the item is deleted', async () => {
    const service = await start();
    await service.http.put('/inventory/pen').send({ stock: 1 });
    await theStandby().kill();
    const first = service.http.delete('/inventory/pen').then(({ status }) => status);
    await breakOffWaits('pg_cancel_backend');
    expect(await first).toBe(503);
    let isAnswered = false;
    const second = service.http
      .delete('/inventory/pen')
      .then(({ status }) => status)
      .finally(() => (isAnswered = true));
    await until(async () => isAnswered || (await waits()).length === 1);
    expect(isAnswered).toBe(false);
    await theStandby().start();
    expect(await second).toBe(204);
  });
});

describe('the inbox', () => {
  it('takes a message for processed only if a standby knows that the message is processed', async () => {
    const dataSource = await new DataSource(dataSourceOptions(await cluster.primary.url())).initialize();
    const consumer = { name: 'consumer', types: ['marble.counted'], handle: () => Promise.resolve() };
    const deliver = () =>
      processBatch(dataSource, consumer, [message('replicated')], { deadLetters: 'skip', lockTimeout: 'default' });
    await theStandby().kill();
    const first = deliver();
    await breakOffWaits('pg_cancel_backend');
    expect((await first).kind).toBe('database unavailable');
    let isProcessed = false;
    const second = deliver().finally(() => (isProcessed = true));
    await until(async () => isProcessed || (await waits()).length === 1);
    expect(isProcessed).toBe(false);
    await theStandby().start();
    expect(await second).toEqual({ kind: 'committed', outcomes: ['processed'] });
    await dataSource.destroy();
  });
});
