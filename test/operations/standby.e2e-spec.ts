// Goal: prove that a service on a standby acknowledges nothing and says what is wrong, and that it serves after a promotion.
// Method: start a primary with a standby, and point migrations and services at the standby.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PostgresCluster } from '../../harness/postgres-cluster.js';
import { migrate } from '../../src/database/migrate.js';
import { COMMITTERS_ALONE, useCommitter } from '../support/committers.js';
import { killAll, spawnService } from '../support/process.js';
import { replyOf, startService, type TestService } from '../support/service.js';
import { until } from '../support/waiting.js';
import { expectProblem } from '../support/wire.js';

let directory: string;
let cluster: PostgresCluster;
let primaryUrl: string;
let standbyUrl: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'payments-standby-'));
  cluster = await PostgresCluster.start(directory, 1, 'quorum');
  primaryUrl = await cluster.primary.url();
  standbyUrl = (await cluster.standbys[0]?.url()) ?? '';
});
afterAll(async () => {
  await killAll();
  await cluster?.remove();
  await rm(directory, { recursive: true, force: true });
});

/** Waits until the standby shows what a query finds on the primary. */
const shown = (query: string) =>
  until(async () => {
    const rows = await cluster.standbys[0]?.sql(query).catch(() => []);
    return rows?.length === 1;
  });

describe('a start', () => {
  it('refuses to migrate a standby, and says that the server is a standby', async () => {
    await expect(migrate(standbyUrl)).rejects.toThrow(
      'DATABASE_URL: expected a primary, because migrations are missing, but the server is a standby or read-only',
    );
  });

  it('migrates nothing on a standby that has every migration', async () => {
    await migrate(primaryUrl);
    await shown("SELECT FROM pg_class WHERE relname = 'migrations'");
    expect(await migrate(standbyUrl)).toEqual([]);
  });

  it('warns if synchronous_commit is local although there are synchronous standbys', async () => {
    await cluster.primary.sql('ALTER DATABASE payments SET synchronous_commit = local');
    const service = await spawnService(primaryUrl);
    await cluster.primary.sql('ALTER DATABASE payments RESET synchronous_commit');
    expect(service.output.join('\n')).toContain(
      'synchronous_commit is local although synchronous_standby_names is set',
    );
    service.signal('SIGTERM');
    expect(await service.ended).toBe(0);
  });
});

describe.each(COMMITTERS_ALONE)('a service on a standby that commits %s:', (committer) => {
  useCommitter(committer);
  const key = committer.replaceAll(' ', '-');
  let service: TestService;
  let onPrimary: TestService;
  beforeAll(async () => {
    onPrimary = await startService(primaryUrl);
    service = await startService(standbyUrl);
  });
  afterAll(async () => {
    await service?.stop();
    await onPrimary?.stop();
  });

  it('answers 503 to /health/ready and names the standby', async () => {
    const unready = await service.http.get('/health/ready');
    expect(expectProblem(unready, 503, 'database_unavailable')['detail']).toBe('The database is a standby.');
  });

  it('answers 503 to a new request and to a replay, because it cannot know that other standbys have the reply', async () => {
    const first = await onPrimary.charge(key);
    expect(first.status).toBe(200);
    await shown(`SELECT FROM processed_requests WHERE idempotency_key = '${key}' AND completed_at IS NOT NULL`);
    for (const each of [key, `new-${key}`]) {
      const { outcome } = expectProblem(await service.charge(each), 503, 'database_unavailable');
      expect(outcome).toBe('not_started');
    }
  });
});

describe('a promotion', () => {
  it('makes a service that was started on the standby ready, and it replays what the old primary has acknowledged', async () => {
    const onPrimary = await startService(primaryUrl);
    const first = await onPrimary.charge('acknowledged');
    await onPrimary.stop();
    const service = await startService(standbyUrl);
    expectProblem(await service.charge('acknowledged'), 503, 'database_unavailable');
    await cluster.primary.kill();
    await cluster.discard(await cluster.failOver());
    await cluster.addStandby();
    await until(async () => (await service.http.get('/health/ready')).status === 200);
    expect(replyOf(await service.charge('acknowledged'))).toEqual(replyOf(first));
    await service.stop();
  });
});
