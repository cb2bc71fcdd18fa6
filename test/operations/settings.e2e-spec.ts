// Goal: prove that the service works with every accepted value at and between the limits of each setting.
// Method: start the service with one value, charge once, and ask for readiness.
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { CHARGE, startService, type TestService } from '../support/service.js';
import { effects, ONE_CHARGE, reset } from '../support/state.js';

/**
 * Values that the service accepts: both ends of the range, and odd values between them. Fractions matter, because a
 * value that is whole in every test can hide a parameter that PostgreSQL has taken for an integer.
 */
const ACCEPTED: Record<string, readonly string[]> = {
  PORT: ['0'],
  HOST: ['127.0.0.1', 'localhost'],
  DATABASE_POOL_SIZE: ['2', '3', '500'],
  DATABASE_SESSION_SETTINGS: ['startup', 'role'],
  API_KEYS: ['acct_demo:sk_demo', `${'a'.repeat(64)}:${'s'.repeat(255)},acct_demo:sk_demo`],
  RATE_LIMIT_PER_SECOND: ['0', '1', '1000000'],
  IDEMPOTENCY_RETENTION_HOURS: ['0.0001', '0.37', '1.1', '23.99', '0.3333333333333333', '8759.123', '8760'],
  IDEMPOTENCY_LEASE_SECONDS: ['0.001', '0.0015', '7.77', '1e3', '3600'],
  IDEMPOTENCY_WAIT_MS: ['0', '1', '3600000'],
  IDEMPOTENCY_SWEEP_CRON: ['* * * * * *', '*/7 1-5 * * 1', '@hourly'],
  IDEMPOTENCY_GROUP_SIZE: ['1', '7', '1000'],
  IDEMPOTENCY_CACHE_MIB: ['0', '0.0000001', '0.1', '1.1', '65536'],
  RELAY_INTERVAL_MS: ['10', '3600000'],
  MESSAGE_RETRY_MS: ['1', '3600000'],
  MESSAGE_MAX_ATTEMPTS: ['1', '1000'],
  MESSAGE_RETENTION_HOURS: ['0.0001', '1.1', '8760'],
  RECOVERY_INTERVAL_MS: ['10', '3600000'],
  GATEWAY_TIMEOUT_MS: ['1', '2', '100', '3600000'],
  GATEWAY_KEY_LIFE_SECONDS: ['7200.5', '86400', '31536000'],
  LOG_LEVEL: ['fatal', 'error', 'silent'],
};

/** Settings that name another server. Other tests start such servers. */
const OTHER_SERVERS = [
  'DATABASE_URL',
  'AMQP_URL',
  'KAFKA_BROKERS',
  'REDIS_URL',
  'GATEWAY_URL',
  'STRIPE_API_KEY',
  'STRIPE_WEBHOOK_SECRET',
  'STRIPE_API_BASE',
];

let database: TestDatabase;
beforeAll(async () => void (database = await createDatabase()));
afterEach(() => reset(database));
afterAll(() => database?.drop());

describe('an accepted setting', () => {
  it('has values in this test for every setting of config.ts', () => {
    const source = readFileSync(new URL('../../src/config.ts', import.meta.url), 'utf8');
    const names = [...source.matchAll(/^ {2}([A-Z_]{4,}):/gm)].map(([, name]) => name);
    expect([...Object.keys(ACCEPTED), ...OTHER_SERVERS].sort()).toEqual(names.sort());
  });

  it.each(Object.entries(ACCEPTED).flatMap(([name, values]) => values.map((value) => [name, value] as const)))(
    'starts a service that charges once and is ready, with %s=%s',
    async (name, value) => {
      const service = await startService(database.url, { [name]: value });
      let replica: TestService | undefined;
      try {
        const authorization = { authorization: 'Bearer sk_demo' };
        let charge = await service.charge('settings', CHARGE, authorization);
        let problem = charge.body as { retryable?: boolean; code?: string };
        // A busy machine may be slower than a time limit that is at its minimum. The retry is safe, so it is allowed. The bank may be slower
        // however often it is asked, so a replica with the defaults continues after a timeout of the bank.
        while (problem.retryable && charge.status !== 500) {
          if (problem.code === 'gateway_timeout') replica ??= await startService(database.url);
          charge = await (replica ?? service).charge('settings', CHARGE, authorization);
          problem = charge.body as typeof problem;
        }
        expect({ status: charge.status, body: charge.body as unknown }).toMatchObject({ status: 200 });
        expect(await effects(database)).toEqual(ONE_CHARGE);
        expect((await service.http.get('/health/ready')).status).toBe(200);
      } finally {
        await service.stop();
        await replica?.stop();
      }
    },
  );
});
