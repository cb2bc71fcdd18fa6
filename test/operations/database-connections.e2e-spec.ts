// Goal: prove that a connection that PostgreSQL or the network ends costs at most a request, never the process or a charge.
// Method: let a proxy end connections as soon as they are ready, or drop their packets, and count statuses and charges.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { dataSourceOptions } from '../../src/database/data-source.js';
import { createDatabase, type TestDatabase, withLimits } from '../support/database.js';
import { killAll, type ServiceProcess, spawnService } from '../support/process.js';
import { type PostgresProxy, type Silence, startProxy } from '../../harness/proxy.js';
import { startService, type TestService } from '../support/service.js';
import { effects } from '../support/state.js';
import { until } from '../support/waiting.js';

/** Nothing runs in the background, so that a test knows which connection serves which request. */
const QUIET = {
  RELAY_INTERVAL_MS: '3600000',
  RECOVERY_INTERVAL_MS: '3600000',
  IDEMPOTENCY_SWEEP_CRON: '0 0 1 1 *',
  LOG_LEVEL: 'silent',
};

let database: TestDatabase;
beforeAll(async () => void (database = await createDatabase()));
afterAll(() => database?.drop());

describe('a connection that PostgreSQL ends as soon as it is ready', () => {
  let proxy: PostgresProxy;
  beforeEach(async () => void (proxy = await startProxy(database.url)));
  afterEach(async () => {
    await killAll();
    await proxy.close();
  });

  const statusOf = async ({ url }: ServiceProcess) => (await fetch(`${url}/charges`)).status;

  it('survives a connection that PostgreSQL ends as soon as it is ready, at the cost of one 503', async () => {
    const service = await spawnService(proxy.url, QUIET);
    expect(await statusOf(service)).toBe(200);
    proxy.endAtBirth();
    proxy.cut();
    const statuses: number[] = [];
    await until(async () => {
      statuses.push(await statusOf(service));
      return statuses.at(-1) === 200;
    });
    expect(proxy.landed).toBe(1);
    // The requests before the last one used a connection that was cut.
    expect(new Set(statuses.slice(0, -1))).toEqual(new Set([503]));
    expect((await fetch(`${service.url}/health/ready`)).status).toBe(200);
  });

  it('names the reason when a connection that ends at birth stops the start', async () => {
    // Ends the third connection. The first one reads the encoding, and the next two ask whether a pooler mixes up prepared statements.
    proxy.endAtBirth(2);
    const output = await spawnService(proxy.url, QUIET).then((service) => service.output.join('\n'), String);
    expect(proxy.landed).toBe(1);
    expect(output).not.toContain("Unhandled 'error' event");
    expect(output).toMatch(/^Error: .*connection/im);
  });
});

describe('a network that drops the packets of a connection', () => {
  const POOL = 4;
  const SILENCES: Silence[] = ['both ways', 'to the database', 'from the database'];

  /** Reads and charges on all connections of the pool until `isOver` returns true. Returns the keys that were sent. */
  async function load({ http, charge }: TestService, name: string, isOver: () => boolean): Promise<string[]> {
    const keys: string[] = [];
    const read = async () => {
      while (!isOver()) await http.get('/charges');
    };
    const pay = async (client: number) => {
      for (let i = 0; !isOver(); i++) {
        const key = `${name}-${client}-${i}`;
        keys.push(key);
        await charge(key);
      }
    };
    await Promise.all([...Array.from({ length: POOL }, read), pay(0), pay(1)]);
    return keys;
  }

  async function surviveSilence(silence: Silence): Promise<void> {
    const proxy = await startProxy(database.url);
    // Uses the service's own limit instead of the long one of other tests, because this limit detects the silence.
    const { query_timeout } = dataSourceOptions(database.url).extra;
    const service = await startService(withLimits(proxy.url, { query_timeout }), { DATABASE_POOL_SIZE: String(POOL) });
    try {
      let isOver = false;
      const loading = load(service, silence.replaceAll(' ', '-'), () => isOver);
      // Waits until every connection of the pool exists.
      await until(() => proxy.connections === POOL);
      expect(proxy.fallSilent(silence)).toBe(POOL);
      const isServing = async () => {
        const answers = await Promise.all([
          service.http.get('/health/ready'),
          service.http.get('/charges'),
          service.charge(`${silence.replaceAll(' ', '-')}-probe`),
        ]);
        return answers.every(({ status }) => status === 200);
      };
      await until(isServing);
      isOver = true;
      for (const key of await loading) await until(async () => (await service.charge(key)).status === 200);
    } finally {
      await service.stop();
      await proxy.close();
    }
  }

  it('serves again after the network has dropped the packets of its connections, in each direction, and makes every charge once', async () => {
    await Promise.all(SILENCES.map(surviveSilence));
    const { succeeded, captures, completed, in_progress, pending } = await effects(database);
    expect([captures, completed, in_progress, pending]).toEqual([succeeded, succeeded, 0, 0]);
  });
});
