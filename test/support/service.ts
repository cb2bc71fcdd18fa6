import type { DynamicModule, Type } from '@nestjs/common';
import request, { type Response } from 'supertest';
import { AppModule } from '../../src/app.module.js';
import { type App, createApp } from '../../src/app.setup.js';
import { PaymentGateway } from '../../src/charges/gateway/payment.gateway.js';
import { SimulatedBank } from '../../src/charges/gateway/simulated-bank.js';
import { type Config, loadConfig } from '../../src/config.js';
import { Problem } from '../../src/http/problem.js';
import { GroupCommit } from '../../src/idempotency/commit/group-commit.js';
import { addOthers, maxGroupSize } from './committers.js';
import { PATIENT_LIMITS, withLimits } from './database.js';
import { Barrier, PATIENCE } from './waiting.js';

/** The real application, listening on its own port. */
export interface TestService extends App {
  url: string;
  http: ReturnType<typeof request>;
  /** POST /charges. An undefined `key` sends no Idempotency-Key. */
  charge(key: string | undefined, body?: object, headers?: Record<string, string>): Promise<Response>;
  /** POST /charges/:id/refunds. */
  refund(chargeId: string, key: string, body?: object): Promise<Response>;
  stop(): Promise<void>;
}

export const CHARGE = { amount: 1999, currency: 'eur' };

/** Logs nothing, and does not sweep, recover or relay by itself: the tests decide when. */
const SETTINGS = {
  PORT: '0',
  LOG_LEVEL: 'silent',
  ...PATIENCE,
  IDEMPOTENCY_SWEEP_CRON: '0 0 1 1 *',
  RECOVERY_INTERVAL_MS: '3600000',
  RELAY_INTERVAL_MS: '3600000',
  // No cache, because tests change and empty the tables without the service.
  IDEMPOTENCY_CACHE_MIB: '0',
};

/** The service, and the modules that a test adds to it. */
class ServiceUnderTest {
  static register(config: Config, databaseUrl: string, features: Type[]): DynamicModule {
    return { module: ServiceUnderTest, imports: [AppModule.register(config, databaseUrl), ...features] };
  }
}

/**
 * Starts the application.
 *
 * @param databaseUrl limits in its query, as {@link withLimits} sets them, replace {@link PATIENT_LIMITS}
 * @param features additional modules
 */
export async function startService(
  databaseUrl: string,
  env: Record<string, string> = {},
  features: Type[] = [],
): Promise<TestService> {
  const limits = { ...PATIENT_LIMITS, ...Object.fromEntries(new URL(databaseUrl).searchParams) };
  const config = loadConfig({ ...SETTINGS, IDEMPOTENCY_GROUP_SIZE: String(maxGroupSize()), ...env });
  const root = ServiceUnderTest.register(config, withLimits(databaseUrl, limits), features);
  const app = await createApp(config, root);
  addOthers(app.nest.get(GroupCommit));
  if (!env['GATEWAY_TIMEOUT_MS']) loseAnswersAtOnce(app);
  await app.nest.listen(0, '127.0.0.1');
  const url = await app.nest.getUrl();
  const http = request(url);
  return {
    ...app,
    url,
    http,
    charge: (key, body = CHARGE, headers = {}) =>
      http
        .post('/charges')
        .set({ ...(key !== undefined && { 'idempotency-key': key }), ...headers })
        .send(body)
        // `then` sends the request now. Otherwise supertest would send it when it is awaited, too late for tests that race requests.
        .then((response) => response),
    refund: (chargeId, key, body = {}) =>
      http
        .post(`/charges/${chargeId}/refunds`)
        .set('idempotency-key', key)
        .send(body)
        .then((response) => response),
    stop: () => app.nest.close(),
  };
}

/**
 * Makes `tok_timeout` answer 504 as soon as the bank has moved the money, instead of after `GATEWAY_TIMEOUT_MS`. A short timeout is not
 * an alternative, because a slow capture on a busy machine would then lose its answer as well.
 */
function loseAnswersAtOnce({ nest }: App): void {
  const bank = nest.get(PaymentGateway);
  if (!(bank instanceof SimulatedBank)) return;
  bank['loseAnswer'] = () =>
    Promise.reject(new Problem('gateway_timeout', 'The answer is lost.', { outcome: 'unknown', retryAfterSeconds: 1 }));
}

/** Holds the next answer of the bank at a barrier, after the bank has decided. Later answers pass. */
export function holdAnswer({ nest }: TestService): Barrier {
  const bank = nest.get(PaymentGateway);
  const barrier = new Barrier();
  const authorize = bank.authorize.bind(bank);
  bank.authorize = async (charge, claimedAt) => {
    const authorization = await authorize(charge, claimedAt);
    await barrier.pass();
    return authorization;
  };
  const refund = bank.refund.bind(bank);
  bank.refund = async (...asked) => {
    const decision = await refund(...asked);
    await barrier.pass();
    return decision;
  };
  return barrier;
}

/** The parts of a reply that must be equal in every reply to one request. */
export const replyOf = ({ status, text, type }: Response) => ({ status, text, type });
