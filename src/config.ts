import { existsSync } from 'node:fs';
import { loadEnvFile } from 'node:process';
import { CronTime } from 'cron';
import { z } from 'zod';

const HOUR_MS = 3_600_000;

const number = (unit: string, minimum: number, maximum: number) =>
  z.coerce.number(`expected a number of ${unit} from ${minimum} to ${maximum}`).min(minimum).max(maximum);

/**
 * A pair of account id and secret. The length of an account id is limited, because it is part of index rows, which PostgreSQL limits to
 * 2,704 bytes, and of AMQP message ids, which have at most 255 bytes. A secret has only visible ASCII characters, because an HTTP header does
 * not carry other characters unchanged.
 */
const API_KEY = /^([\w.-]{1,64}):([!-+\--~]{1,255})$/;

const apiKeys = z.string().transform((text, context) => {
  const keys = text.split(',').map((pair) => API_KEY.exec(pair.trim()));
  const parsed = keys.flatMap((match) => (match?.[1] && match[2] ? [{ accountId: match[1], secret: match[2] }] : []));
  if (parsed.length !== keys.length || new Set(parsed.map((key) => key.secret)).size !== parsed.length) {
    // The message must not repeat the value, because it contains secrets.
    context.addIssue({
      code: 'custom',
      message:
        'expected pairs like acct_a:secret_a,acct_b:secret_b: account ids of 1 to 64 letters, digits, dots, hyphens and underscores, secrets of 1 to 255 visible ASCII characters, no secret twice',
    });
  }
  return Object.freeze(parsed.map((key) => Object.freeze(key)));
});

const brokers = z.string().transform((text, context) => {
  const list = text.split(',').map((broker) => broker.trim());
  const isBroker = (broker: string) => /^[\w.-]+:\d{1,5}$/.test(broker) && Number(broker.split(':')[1]) <= 65_535;
  if (!list.every(isBroker)) {
    context.addIssue({ code: 'custom', message: 'expected host:port, or several separated by commas' });
  }
  return Object.freeze(list);
});

/**
 * Whether a URL has no credentials, query or fragment, so that a path can be appended to it. `fetch` refuses a URL with credentials, and its
 * error quotes the URL, so every charge would fail and the password would be logged.
 */
function hasOnlyPath(url: string): boolean {
  const { origin, pathname, href } = new URL(url);
  return href === origin + pathname;
}

const REDIS_FORM = 'expected redis://user:password@host:port/database, or rediss, with the number of a database';

/** Whether the Redis client can read a URL. The client would refuse other URLs too, but its errors do not name the setting. */
function isReadByRedisClient(url: string): boolean {
  const { hostname, pathname, username, password } = new URL(url);
  try {
    decodeURIComponent(username + password);
  } catch {
    return false;
  }
  return hostname !== '' && /^\/?\d*$/.test(pathname);
}

/** A key contains only its prefix and letters and digits. The error must not repeat the key. */
const STRIPE_KEY = /^(sk|rk)_(test|live)_[A-Za-z0-9]+$/;

/** A secret of a webhook endpoint. The error must not repeat the secret. */
const WEBHOOK_SECRET = /^whsec_[\w+/=-]{1,255}$/;

/** Whether a URL is only an address, and does not send the API key over a network without encryption. */
function isSafeAddress(url: string): boolean {
  const { protocol, hostname, pathname } = new URL(url);
  return hasOnlyPath(url) && pathname === '/' && (protocol === 'https:' || LOOPBACK_HOSTS.includes(hostname));
}

/** Whether a cron expression is valid and has a next time. `0 0 30 2 *` has none, and its job would fail only when it is started. */
function hasNextTime(cron: string): boolean {
  try {
    return new CronTime(cron).sendAt().isValid;
  } catch {
    return false;
  }
}

const environment = z.object({
  PORT: z.coerce.number('expected a port number from 0 to 65535').int().min(0).max(65_535).default(3000),
  HOST: z.string().default('127.0.0.1'),
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: 'expected postgres://user:password@host:port/database', abort: true })
    // Without a query timeout, a connection that the network has dropped would stay in the pool. pg treats 0 as a limit of 0 ms.
    .refine(
      (url) => Number(new URL(url).searchParams.get('query_timeout') ?? 1) > 0,
      'expected a query_timeout above 0',
    )
    .optional(),
  DATABASE_POOL_SIZE: number('connections', 2, 500).int().default(10),
  DATABASE_SESSION_SETTINGS: z.enum(['startup', 'role'], 'expected startup or role').default('startup'),
  API_KEYS: apiKeys.optional(),
  RATE_LIMIT_PER_SECOND: number('requests', 0, 1_000_000).int().default(0),
  IDEMPOTENCY_RETENTION_HOURS: number('hours', 0.0001, 8_760).default(24),
  IDEMPOTENCY_LEASE_SECONDS: number('seconds', 0.001, 3_600).default(30),
  IDEMPOTENCY_WAIT_MS: number('milliseconds', 0, HOUR_MS).int().default(12_000),
  IDEMPOTENCY_SWEEP_CRON: z
    .string()
    .refine(hasNextTime, 'expected a cron expression such as */10 * * * *, with a time in the future')
    .default('*/10 * * * *'),
  IDEMPOTENCY_GROUP_SIZE: number('requests', 1, 1_000).int().default(64),
  IDEMPOTENCY_CACHE_MIB: number('MiB', 0, 65_536).default(32),
  RELAY_INTERVAL_MS: number('milliseconds', 10, HOUR_MS).int().default(250),
  MESSAGE_RETRY_MS: number('milliseconds', 1, HOUR_MS).int().default(1_000),
  MESSAGE_MAX_ATTEMPTS: number('deliveries', 1, 1_000).int().default(5),
  MESSAGE_RETENTION_HOURS: number('hours', 0.0001, 8_760).default(168),
  AMQP_URL: z.url({ protocol: /^amqps?$/, error: 'expected amqp://user:password@host:port/vhost' }).optional(),
  KAFKA_BROKERS: brokers.optional(),
  REDIS_URL: z
    .url({ protocol: /^rediss?$/, error: REDIS_FORM, abort: true })
    .refine(isReadByRedisClient, REDIS_FORM)
    .optional(),
  RECOVERY_INTERVAL_MS: number('milliseconds', 10, HOUR_MS).int().default(5_000),
  GATEWAY_URL: z
    .url({ protocol: /^https?$/, error: 'expected http://host:port, or https', abort: true })
    .refine(hasOnlyPath, 'expected http://host:port/path, without user, password, query and fragment')
    .optional(),
  GATEWAY_TIMEOUT_MS: number('milliseconds', 1, HOUR_MS).int().default(10_000),
  // Stripe may forget a key when the key is 24 hours old (https://docs.stripe.com/api/idempotent_requests).
  GATEWAY_KEY_LIFE_SECONDS: number('seconds', 1, 31_536_000).default(86_400),
  STRIPE_API_KEY: z
    .string()
    .regex(STRIPE_KEY, 'expected a secret or restricted key of Stripe, such as sk_test_')
    .optional(),
  STRIPE_API_BASE: z
    .url({ protocol: /^https?$/, error: 'expected https://host:port, or http on loopback', abort: true })
    .refine(
      isSafeAddress,
      'expected https://host:port, or http on loopback, without user, password, path, query and fragment',
    )
    .optional(),
  STRIPE_WEBHOOK_SECRET: z
    .string()
    .regex(WEBHOOK_SECRET, 'expected the signing secret of a webhook endpoint of Stripe, such as whsec_')
    .optional(),
  LOG_LEVEL: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
});

const LOOPBACK_HOSTS = ['127.0.0.1', '::1', 'localhost'];

/** The settings of the process: read once from the environment, checked and frozen. Units are in the names. */
export type Config = Readonly<z.output<typeof environment>>;

/** The injection token of the {@link Config}. */
export const CONFIG = Symbol('CONFIG');

/** A setting with which the process must not start. The message names the variable and the expected form. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Reads the settings of this process from its environment. `.env` in the working directory sets variables that the environment does not. */
export function configOfProcess(): Config {
  if (existsSync('.env')) loadEnvFile('.env');
  return loadConfig(process.env);
}

/**
 * Reads and checks the settings.
 *
 * @param env the environment; an empty value counts as unset, as in `docker compose` files
 * @throws {ConfigError} that lists every bad setting by name
 */
export function loadConfig(env: NodeJS.ProcessEnv): Config {
  const present = Object.fromEntries(Object.entries(env).filter(([, value]) => value?.trim()));
  const { success, data, error } = environment.safeParse(present);
  if (!success) {
    throw new ConfigError(error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n'));
  }
  if (!data.API_KEYS && !LOOPBACK_HOSTS.includes(data.HOST)) {
    throw new ConfigError(
      `HOST: ${data.HOST} can be reached by other machines, but without API_KEYS every client is acct_demo; expected a loopback address, or API_KEYS`,
    );
  }
  if (data.AMQP_URL && data.KAFKA_BROKERS) {
    throw new ConfigError('AMQP_URL, KAFKA_BROKERS: expected at most one of the two, because messages use one bus');
  }
  if (data.STRIPE_API_KEY && data.GATEWAY_URL) {
    throw new ConfigError(
      'STRIPE_API_KEY, GATEWAY_URL: expected at most one of the two, because charges use one gateway',
    );
  }
  if (data.STRIPE_API_BASE && !data.STRIPE_API_KEY) {
    throw new ConfigError('STRIPE_API_BASE: expected STRIPE_API_KEY as well, because only Stripe uses this address');
  }
  if (data.GATEWAY_KEY_LIFE_SECONDS * 1000 < 2 * data.GATEWAY_TIMEOUT_MS) {
    throw new ConfigError(
      'GATEWAY_KEY_LIFE_SECONDS: expected at least twice GATEWAY_TIMEOUT_MS, because the gateway is asked only if its answer is due while its key lives',
    );
  }
  return Object.freeze(data);
}
