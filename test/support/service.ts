import type { Type } from '@nestjs/common';
import request, { type Response } from 'supertest';
import { type App, createApp } from '../../src/app.setup.js';
import { loadConfig } from '../../src/config.js';
import { GroupCommit } from '../../src/idempotency/group-commit.js';
import { keepCompany, MAX_GROUP_SIZE } from './company.js';

/** The service of a test: the real application, listening on a port of its own. */
export interface TestService extends App {
  url: string;
  http: ReturnType<typeof request>;
  /** POST /charges. `key` undefined sends none. */
  charge(key: string | undefined, body?: object, headers?: Record<string, string>): Promise<Response>;
  stop(): Promise<void>;
}

export const CHARGE = { amount: 1999, currency: 'eur' };

/** Short enough for tests, long enough for a busy machine; silent, and neither sweeping, recovering nor relaying by itself. */
const SETTINGS = {
  PORT: '0',
  LOG_LEVEL: 'silent',
  GATEWAY_TIMEOUT_MS: '300',
  IDEMPOTENCY_SWEEP_CRON: '0 0 1 1 *',
  RECOVERY_INTERVAL_MS: '3600000',
  RELAY_INTERVAL_MS: '3600000',
  IDEMPOTENCY_GROUP_SIZE: String(MAX_GROUP_SIZE),
  // Tests change and empty the tables behind the back of the service.
  IDEMPOTENCY_CACHE_MIB: '0',
};

/** @param features modules beside those of the service */
export async function startService(
  databaseUrl: string,
  env: Record<string, string> = {},
  features: Type[] = [],
): Promise<TestService> {
  const app = await createApp(loadConfig({ ...SETTINGS, ...env }), databaseUrl, features);
  keepCompany(app.nest.get(GroupCommit));
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
        // supertest sends when it is awaited; a test that races requests wants them sent now.
        .then((response) => response),
    stop: () => app.nest.close(),
  };
}

/** What must be the same in every reply to one request. */
export const replyOf = ({ status, text, type }: Response) => ({ status, text, type });
