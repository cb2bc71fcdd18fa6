import { Client, type ClientConfig } from 'pg';
import type { DataSourceOptions } from 'typeorm';
import { migrations } from '../../migrations/index.js';
import { Balance } from '../balance/balance.entity.js';
import { Charge } from '../charges/charge.entity.js';
import { Refund } from '../charges/refunds/refund.entity.js';
import type { Config } from '../config.js';
import { Customer } from '../customers/customer.entity.js';
import { InventoryItem } from '../inventory/inventory-item.entity.js';
import { Order } from '../orders/order.entity.js';
import { CONNECTION_LIMITS } from '../postgres/connection-limits.js';

/** A request that gets no connection in this time is answered with 503 `database_unavailable`. */
const CONNECT_TIMEOUT_MS = 3_000;
/**
 * Time after which an idle connection leaves the pool. Shorter than the query timeout, which a statement needs to find out that its connection
 * is lost. By then, all connections that were idle when this statement began have left the pool, so no other request waits for such a connection.
 */
const IDLE_TIMEOUT_MS = 10_000;

/** The limits that PostgreSQL sets for a session. Migrations run without them, because a migration of a large table may take long. */
export const SERVER_LIMITS = [
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
];

/**
 * A client whose 'error' events never end the process.
 *
 * Node ends the process on an 'error' event without a listener. pg-pool removes its listener before TypeORM adds one, so if a server ends
 * a new connection, the event can arrive in between. The error is not lost, because the next statement on this connection fails with it.
 */
class PooledClient extends Client {
  constructor(config?: string | ClientConfig) {
    super(config);
    this.on('error', () => undefined);
  }
}

/**
 * Where a session gets its settings. `startup`: the service sends them when it connects. `role`: `ALTER ROLE … SET` has set them, because a
 * pooler in transaction mode refuses or ignores most settings of a client. The start checks them in both cases.
 */
type SessionSettings = Config['DATABASE_SESSION_SETTINGS'];

/** The options of every connection. */
const CONNECTION = { Client: PooledClient, keepAlive: true };

/**
 * The session settings that the code relies on. They override the defaults of the server, the database and the role. pg parses timestamps only in
 * the ISO format. Statements outside of the protocol's transactions are written for READ COMMITTED: at a higher isolation level, a lost
 * race is an error instead of a wait.
 */
const RELIED_UPON = '-c datestyle=ISO -c default_transaction_isolation=read\\ committed';

/**
 * TCP probes with which the server finds a lost connection within a minute. A network can drop a connection without a notice to either side, and the
 * server would then keep the session and its locks for two hours, the default of Linux. Such a session may hold the migration lock, for which
 * every start of the service waits.
 */
const PROBED = '-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3';

/**
 * Adds session settings to a URL, unless the role has them. pg ignores the `options` of its configuration if the URL has `options`, so all of them go into the URL.
 *
 * PostgreSQL uses the last value of a setting. So the options in `url` override `defaults`, and {@link RELIED_UPON} overrides both.
 */
function withOptions(url: string, settings: SessionSettings, defaults: string): string {
  if (settings === 'role') return url;
  const complete = new URL(url);
  const options = [defaults, complete.searchParams.get('options'), RELIED_UPON].filter(Boolean).join(' ');
  complete.searchParams.set('options', options);
  return complete.href;
}

/** The limits that PostgreSQL enforces are settings of the session, and the others are options of pg. */
const { query_timeout, pipeline, ...LIMITS } = CONNECTION_LIMITS;

/**
 * The options of the data source, for the service and the tests. The query of `url` overrides the limits, as with `?query_timeout=30000`.
 */
export function dataSourceOptions(url: string, poolSize = 2, settings: SessionSettings = 'startup') {
  return {
    type: 'postgres',
    url: withOptions(url, settings, `${PROBED} -c tcp_user_timeout=${LIMITS.idle_in_transaction_session_timeout}`),
    entities: [Balance, Charge, Customer, InventoryItem, Order, Refund],
    migrations,
    // Only migrations change the schema.
    synchronize: false,
    installExtensions: false,
    logging: false,
    poolSize,
    connectTimeoutMS: CONNECT_TIMEOUT_MS,
    applicationName: 'payments',
    // An idle connection breaks at every restart of the database, and this must not end the process.
    poolErrorHandler: () => undefined,
    extra: {
      ...CONNECTION,
      ...(settings === 'startup' && LIMITS),
      query_timeout,
      idleTimeoutMillis: IDLE_TIMEOUT_MS,
      pipeline,
    },
  } satisfies DataSourceOptions;
}

/**
 * The options of the data source for migrations. The limits in the query of `url` are removed, and the limits that the server sets for the
 * role are switched off with 0.
 */
export function migrationOptions(url: string, settings: SessionSettings = 'startup'): DataSourceOptions {
  const unlimited = new URL(url);
  for (const name of [...SERVER_LIMITS, 'query_timeout']) unlimited.searchParams.delete(name);
  const options = [PROBED, ...SERVER_LIMITS.map((name) => `-c ${name}=0`)].join(' ');
  return {
    ...dataSourceOptions(unlimited.href, undefined, settings),
    url: withOptions(unlimited.href, settings, options),
    extra: CONNECTION,
  };
}
