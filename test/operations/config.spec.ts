// Goal: prove that each setting has a default, limits and an error that names it, and that the error never shows a secret.
// Method: call `loadConfig` with single values, and compare the names with .env.example.
import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { ConfigError, loadConfig } from '../../src/config.js';

const DEFAULTS = {
  PORT: 3000,
  HOST: '127.0.0.1',
  DATABASE_POOL_SIZE: 10,
  DATABASE_SESSION_SETTINGS: 'startup',
  RATE_LIMIT_PER_SECOND: 0,
  IDEMPOTENCY_RETENTION_HOURS: 24,
  IDEMPOTENCY_LEASE_SECONDS: 30,
  IDEMPOTENCY_WAIT_MS: 12_000,
  IDEMPOTENCY_SWEEP_CRON: '*/10 * * * *',
  IDEMPOTENCY_GROUP_SIZE: 64,
  IDEMPOTENCY_CACHE_MIB: 32,
  RELAY_INTERVAL_MS: 250,
  MESSAGE_RETRY_MS: 1_000,
  MESSAGE_MAX_ATTEMPTS: 5,
  MESSAGE_RETENTION_HOURS: 168,
  RECOVERY_INTERVAL_MS: 5_000,
  GATEWAY_TIMEOUT_MS: 10_000,
  GATEWAY_KEY_LIFE_SECONDS: 86_400,
  LOG_LEVEL: 'info',
};

/** The error message that the process would print before it ends. */
function refusalOf(env: Record<string, string>): string {
  try {
    loadConfig(env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message;
  }
  throw new Error(`${JSON.stringify(env)} was not refused`);
}

describe('the settings', () => {
  it('gives every setting its default, except the optional ones: database, API keys, broker, Redis and gateway', () => {
    expect(loadConfig({})).toEqual(DEFAULTS);
  });

  it('takes settings from the environment, and ignores other variables', () => {
    const env = { PORT: '8080', IDEMPOTENCY_RETENTION_HOURS: '0.5', LOG_LEVEL: 'debug', PATH: '/bin', port: '1' };
    expect(loadConfig(env)).toEqual({ ...DEFAULTS, PORT: 8080, IDEMPOTENCY_RETENTION_HOURS: 0.5, LOG_LEVEL: 'debug' });
    const url = 'postgresql://u:p@localhost:5432/payments?sslmode=require';
    expect(loadConfig({ DATABASE_URL: url }).DATABASE_URL).toBe(url);
  });

  it.each(
    Object.keys(DEFAULTS).concat(
      'DATABASE_URL',
      'API_KEYS',
      'RATE_LIMIT_PER_SECOND',
      'AMQP_URL',
      'KAFKA_BROKERS',
      'REDIS_URL',
      'GATEWAY_URL',
      'STRIPE_API_KEY',
      'STRIPE_API_BASE',
      'STRIPE_WEBHOOK_SECRET',
    ),
  )('treats an empty setting as unset: %s', (name) => {
    expect(loadConfig({ [name]: '' })).toEqual(DEFAULTS);
    expect(loadConfig({ [name]: '  ' })).toEqual(DEFAULTS);
  });

  it('lets a duplicate wait longer than the bank may take, because otherwise it would get a 409 shortly before the answer', () => {
    const { IDEMPOTENCY_WAIT_MS, GATEWAY_TIMEOUT_MS } = loadConfig({});
    expect(IDEMPOTENCY_WAIT_MS).toBeGreaterThan(GATEWAY_TIMEOUT_MS);
  });

  it('freezes the settings', () => {
    const config = loadConfig({}) as { PORT: number };
    expect(() => (config.PORT = 1)).toThrow(TypeError);
    expect(config).toEqual(DEFAULTS);
  });

  it('freezes the list of API keys and each key in it', () => {
    const { API_KEYS } = loadConfig({ API_KEYS: 'acct_a:sk_a' }) as unknown as {
      API_KEYS: { accountId: string; secret: string }[];
    };
    expect(() => API_KEYS.push({ accountId: 'acct_b', secret: 'sk_b' })).toThrow(TypeError);
    expect(() => API_KEYS.map((key) => (key.secret = 'sk_b'))).toThrow(TypeError);
  });
});

describe('a bad value', () => {
  it.each([
    ['PORT', 'http', /port/],
    ['PORT', '-1', /port/],
    ['PORT', '65536', /port/],
    ['PORT', '80.5', /port/],
    ['DATABASE_URL', 'localhost:5432', /postgres:\/\//],
    ['DATABASE_URL', 'mysql://root@localhost/payments', /postgres:\/\//],
    ['DATABASE_URL', 'postgres://u@localhost/payments?query_timeout=0', /query_timeout above 0/],
    ['DATABASE_POOL_SIZE', '1', /number of connections/],
    ['DATABASE_POOL_SIZE', '501', /number of connections/],
    ['API_KEYS', 'sk_a', /acct_a:secret_a/],
    ['RATE_LIMIT_PER_SECOND', '-1', /number of requests/],
    ['RATE_LIMIT_PER_SECOND', '0.5', /number of requests/],
    ['RATE_LIMIT_PER_SECOND', '10/s', /number of requests/],
    ['IDEMPOTENCY_RETENTION_HOURS', '0', /number of hours/],
    ['IDEMPOTENCY_RETENTION_HOURS', 'Infinity', /number of hours/],
    ['IDEMPOTENCY_RETENTION_HOURS', 'a day', /number of hours/],
    ['IDEMPOTENCY_LEASE_SECONDS', '0', /number of seconds/],
    ['IDEMPOTENCY_LEASE_SECONDS', '30s', /number of seconds/],
    ['IDEMPOTENCY_WAIT_MS', '-1', /number of milliseconds/],
    ['IDEMPOTENCY_WAIT_MS', '1.5', /number of milliseconds/],
    ['IDEMPOTENCY_GROUP_SIZE', '0', /number of requests/],
    ['IDEMPOTENCY_GROUP_SIZE', '1.5', /number of requests/],
    ['IDEMPOTENCY_CACHE_MIB', '-1', /number of MiB/],
    ['IDEMPOTENCY_SWEEP_CRON', 'every hour', /cron expression/],
    ['IDEMPOTENCY_SWEEP_CRON', '0 0 30 2 *', /a time in the future/],
    ['RELAY_INTERVAL_MS', '9', /number of milliseconds/],
    ['MESSAGE_RETRY_MS', '0', /number of milliseconds/],
    ['MESSAGE_MAX_ATTEMPTS', '0', /number of deliveries/],
    ['MESSAGE_MAX_ATTEMPTS', '2.5', /number of deliveries/],
    ['MESSAGE_RETENTION_HOURS', '0', /number of hours/],
    ['AMQP_URL', 'localhost:5672', /amqp:\/\//],
    ['AMQP_URL', 'http://localhost:5672', /amqp:\/\//],
    ['KAFKA_BROKERS', 'localhost', /host:port/],
    ['KAFKA_BROKERS', 'localhost:65536', /host:port/],
    ['KAFKA_BROKERS', 'kafka://localhost:9092', /host:port/],
    ['KAFKA_BROKERS', 'a:9092,', /host:port/],
    ['REDIS_URL', 'localhost:6379', /redis:\/\//],
    ['REDIS_URL', 'http://localhost:6379', /redis:\/\//],
    ['REDIS_URL', 'redis:///0', /redis:\/\//],
    ['REDIS_URL', 'redis://localhost:6379/first', /number of a database/],
    ['REDIS_URL', 'redis://user:50%@localhost', /redis:\/\//],
    ['RECOVERY_INTERVAL_MS', '9', /number of milliseconds/],
    ['GATEWAY_URL', 'bank.example:80', /expected http:/],
    ['GATEWAY_URL', 'bank', /expected http:/],
    ['GATEWAY_URL', 'http://bank.example/?region=eu', /without .*query/],
    ['GATEWAY_URL', 'http://bank.example/#eu', /without .*fragment/],
    ['GATEWAY_URL', 'http://user:hunter2@bank.example', /without user, password/],
    ['STRIPE_API_KEY', 'pk_test_fake', /secret or restricted key/],
    ['STRIPE_API_KEY', 'sk_test_fake\nX: y', /secret or restricted key/],
    ['STRIPE_API_BASE', 'stripe.example', /expected https:/],
    ['STRIPE_API_BASE', 'http://stripe.example', /http on loopback/],
    ['STRIPE_API_BASE', 'https://stripe.example/v1', /without .*path/],
    ['STRIPE_API_BASE', 'https://localhost', /expected STRIPE_API_KEY/],
    ['STRIPE_WEBHOOK_SECRET', 'sk_test_fake', /signing secret of a webhook endpoint/],
    ['STRIPE_WEBHOOK_SECRET', 'whsec_', /signing secret of a webhook endpoint/],
    ['GATEWAY_TIMEOUT_MS', '0', /number of milliseconds/],
    ['GATEWAY_TIMEOUT_MS', '3600001', /number of milliseconds/],
    ['GATEWAY_KEY_LIFE_SECONDS', '0', /number of seconds/],
    ['GATEWAY_KEY_LIFE_SECONDS', '19', /twice GATEWAY_TIMEOUT_MS/],
    ['DATABASE_SESSION_SETTINGS', 'session', /expected startup or role/],
    ['LOG_LEVEL', 'loud', /"info"/],
  ])('names the bad setting and the expected form: %s=%s', (name, value, expected) => {
    const refusal = refusalOf({ [name]: value });
    expect(refusal).toMatch(new RegExp(`^${name}: .*expected`));
    expect(refusal).toMatch(expected);
  });

  it('names every bad setting, not only the first', () => {
    const refusal = refusalOf({ PORT: 'x', LOG_LEVEL: 'loud', GATEWAY_TIMEOUT_MS: 'long' });
    expect(refusal.split('\n').map((line) => line.split(':')[0])).toEqual(['PORT', 'GATEWAY_TIMEOUT_MS', 'LOG_LEVEL']);
  });

  it('does not repeat a bad value that holds a password', () => {
    expect(refusalOf({ DATABASE_URL: 'mysql://root:hunter2@localhost/payments' })).not.toContain('hunter2');
    expect(refusalOf({ AMQP_URL: 'http://guest:hunter2@localhost' })).not.toContain('hunter2');
    expect(refusalOf({ REDIS_URL: 'redis://guest:hunter2@localhost/%' })).not.toContain('hunter2');
    expect(refusalOf({ GATEWAY_URL: 'http://guest:hunter2@localhost' })).not.toContain('hunter2');
    expect(refusalOf({ STRIPE_API_KEY: 'hunter2' })).not.toContain('hunter2');
    expect(refusalOf({ STRIPE_WEBHOOK_SECRET: 'hunter2' })).not.toContain('hunter2');
    const both = { AMQP_URL: 'amqp://guest:hunter2@localhost', KAFKA_BROKERS: 'localhost:9092' };
    expect(refusalOf(both)).not.toContain('hunter2');
  });

  it('accepts values at their limits', () => {
    const limits = { PORT: '0', DATABASE_POOL_SIZE: '500', IDEMPOTENCY_WAIT_MS: '0', RECOVERY_INTERVAL_MS: '10' };
    expect(loadConfig(limits)).toMatchObject({ PORT: 0, DATABASE_POOL_SIZE: 500, IDEMPOTENCY_WAIT_MS: 0 });
  });
});

describe('API_KEYS', () => {
  it.each([
    ['one pair', 'acct_a:sk_a', [['acct_a', 'sk_a']]],
    [
      'pairs with white space between',
      ' acct_a:sk_a , acct_b:sk_b ',
      [
        ['acct_a', 'sk_a'],
        ['acct_b', 'sk_b'],
      ],
    ],
    [
      'two secrets of one account, for a rotation',
      'acct_a:old,acct_a:new',
      [
        ['acct_a', 'old'],
        ['acct_a', 'new'],
      ],
    ],
    ['a secret with colons', 'acct_a:sk:a:1', [['acct_a', 'sk:a:1']]],
    [
      'account ids and secrets as long as the limits',
      `${'a.-_Z9'.repeat(10)}1234:${'!+-~'.repeat(63)}xyz`,
      [[`${'a.-_Z9'.repeat(10)}1234`, `${'!+-~'.repeat(63)}xyz`]],
    ],
  ])('accepts API_KEYS with %s', (_, value, expected) => {
    const keys = loadConfig({ API_KEYS: value }).API_KEYS?.map(({ accountId, secret }) => [accountId, secret]);
    expect(keys).toEqual(expected);
  });

  it.each([
    ['a secret without an account', 'hunter2'],
    ['an account without a secret', 'acct_a:hunter2,acct_b:'],
    ['an empty account', ':hunter2'],
    ['an account id that is too long for an index', `${'a'.repeat(2_667)}:hunter2`],
    ['an account id longer than 64 characters', `${'a'.repeat(65)}:hunter2`],
    ['an account id that is not ASCII', 'acct_ä:hunter2'],
    ['a secret that a header cannot carry unchanged', 'acct_a:hunter2€'],
    ['a secret longer than 255 characters', `acct_a:${'hunter2'.repeat(37)}`],
    ['white space within', 'acct_a:hunter2 acct_b:x'],
    ['a comma at the end', 'acct_a:hunter2,'],
    ['one secret for two accounts', 'acct_a:hunter2,acct_b:hunter2'],
  ])('refuses API_KEYS with %s, and does not repeat the secret', (_, value) => {
    const refusal = refusalOf({ API_KEYS: value });
    expect(refusal).toMatch(/^API_KEYS: expected pairs/);
    expect(refusal).not.toContain('hunter2');
  });
});

describe('AMQP_URL and KAFKA_BROKERS', () => {
  it('accepts the URL of a RabbitMQ', () => {
    for (const url of ['amqp://localhost', 'amqps://user:password@broker.example.org:5671/vhost']) {
      expect(loadConfig({ AMQP_URL: url }).AMQP_URL).toBe(url);
    }
  });

  it('accepts one or more brokers of a Kafka cluster', () => {
    expect(loadConfig({ KAFKA_BROKERS: 'localhost:9092' }).KAFKA_BROKERS).toEqual(['localhost:9092']);
    expect(loadConfig({ KAFKA_BROKERS: ' a:9092 , b-1.example.org:9093' }).KAFKA_BROKERS).toEqual([
      'a:9092',
      'b-1.example.org:9093',
    ]);
  });

  it('refuses RabbitMQ and Kafka together', () => {
    const both = { AMQP_URL: 'amqp://localhost', KAFKA_BROKERS: 'localhost:9092' };
    expect(refusalOf(both)).toMatch(/^AMQP_URL, KAFKA_BROKERS: .*expected at most one of the two/);
  });

  it('refuses two payment gateways, because charges use one', () => {
    const both = { GATEWAY_URL: 'http://localhost:4000', STRIPE_API_KEY: 'sk_test_fake' };
    expect(refusalOf(both)).toMatch(/^STRIPE_API_KEY, GATEWAY_URL: .*expected at most one of the two/);
  });
});

describe('HOST', () => {
  it.each(['127.0.0.1', '::1', 'localhost'])('accepts a loopback HOST without API keys: %s', (host) => {
    expect(loadConfig({ HOST: host }).HOST).toBe(host);
  });

  it.each(['0.0.0.0', '::', '192.0.2.1', 'localhost.example.org', '0'])(
    'refuses a HOST that other machines can reach without API keys: %s',
    (host) => {
      expect(refusalOf({ HOST: host })).toMatch(/^HOST: .*expected a loopback address, or API_KEYS/);
      expect(refusalOf({ HOST: host, API_KEYS: '' })).toMatch(/^HOST: /);
      expect(loadConfig({ HOST: host, API_KEYS: 'acct_a:sk_a' }).HOST).toBe(host);
    },
  );
});

describe('.env.example', () => {
  const text = readFileSync(new URL('../../.env.example', import.meta.url), 'utf8');
  /** The variables of the file, once the comment signs before them are removed. */
  const examples = parseEnv(text.replace(/^#(?=[A-Z_]+=)/gm, ''));
  const source = readFileSync(new URL('../../src/config.ts', import.meta.url), 'utf8');
  const variables = [...source.matchAll(/^ {2}([A-Z_]{4,}):/gm)].map(([, name]) => name);

  it('lists every setting in .env.example, and no other', () => {
    expect(variables.length).toBeGreaterThan(10);
    expect(Object.keys(examples).sort()).toEqual(variables.sort());
  });

  it('sets nothing in .env.example, and shows the defaults', () => {
    expect(parseEnv(text)).toEqual({});
    // RabbitMQ and Kafka exclude each other, and so do the two gateways, so each is loaded by itself.
    const { KAFKA_BROKERS: brokers, STRIPE_API_KEY: key, STRIPE_API_BASE: base, ...withRabbitMq } = examples;
    const stripe = { STRIPE_API_KEY: key, STRIPE_API_BASE: base };
    const { DATABASE_URL, API_KEYS, AMQP_URL, REDIS_URL, GATEWAY_URL, STRIPE_WEBHOOK_SECRET, ...rest } =
      loadConfig(withRabbitMq);
    expect(rest).toEqual(DEFAULTS);
    const { KAFKA_BROKERS, STRIPE_API_KEY, STRIPE_API_BASE } = loadConfig({ KAFKA_BROKERS: brokers, ...stripe });
    const others = [KAFKA_BROKERS, STRIPE_API_KEY, STRIPE_API_BASE, STRIPE_WEBHOOK_SECRET];
    expect([DATABASE_URL, API_KEYS, AMQP_URL, REDIS_URL, GATEWAY_URL, ...others]).not.toContain(undefined);
  });

  it('explains each setting of .env.example in one sentence', () => {
    const paragraphs = text.trim().split('\n\n').slice(1);
    expect(paragraphs).toHaveLength(variables.length);
    for (const paragraph of paragraphs) expect(paragraph).toMatch(/^# [A-Z][^\n]+[^.]\.\n#[A-Z_]+=.+$/);
  });
});
