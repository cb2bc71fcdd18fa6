import { Client, type ClientConfig } from 'pg';
import type { DataSourceOptions } from 'typeorm';
import { migrations } from '../../migrations/index.js';
import { Balance } from '../balance/balance.entity.js';
import { Charge } from '../charges/charge.entity.js';
import { Customer } from '../customers/customer.entity.js';
import { InventoryItem } from '../inventory/inventory-item.entity.js';
import { Order } from '../orders/order.entity.js';

/** A statement that waits longer for a row lock meets a frozen process, not a busy one. */
const LOCK_TIMEOUT_MS = 2_000;
/** No statement of this service takes a hundredth of it. */
const STATEMENT_TIMEOUT_MS = 10_000;
/**
 * A process that freezes within a transaction blocks its rows no longer than this: neither while PostgreSQL waits for the next
 * statement, nor while PostgreSQL waits for the process to read an answer. Only TCP can end the second wait, because a backend
 * that is sending heeds none of its own timeouts. A claim reads little enough for the socket buffers, but a phase that places
 * orders, or the relay, reads hundreds of rows while it holds its locks.
 */
const FROZEN_MS = 5_000;
/** When no connection can be had in this time, the request is told that the database is away. */
const CONNECT_TIMEOUT_MS = 3_000;
/**
 * A statement without an answer after this time has lost its connection: a network that forgets a connection does not say so. pg then
 * destroys the connection, because `pipeline` is on. Longer than the statement timeout, so that a server that does answer
 * reports its own error first.
 */
const QUERY_TIMEOUT_MS = STATEMENT_TIMEOUT_MS + 2_000;
/**
 * Shorter than the query timeout. So when the first statement finds out that the network has forgotten its connection, every
 * connection that was idle at that time has left the pool, and none of them costs another request the same wait.
 */
const IDLE_TIMEOUT_MS = 10_000;

/** The limits that PostgreSQL itself puts on a session. The session that holds the migration lock is idle while migrations run. */
const SERVER_LIMITS = [
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
];

/**
 * A client whose errors never end the process. An 'error' event without a listener would, and pg-pool removes its own listener
 * before TypeORM adds one: a server that ends a connection right after it was made is heard in between. The error is not lost:
 * the next statement on this connection fails with it.
 */
class PooledClient extends Client {
  constructor(config?: string | ClientConfig) {
    super(config);
    this.on('error', () => undefined);
  }
}

/** What every connection needs. */
const CONNECTION = { Client: PooledClient, keepAlive: true };

/**
 * What the code relies on, whatever the server, the database or the role has as its default. pg reads timestamps in the ISO format only.
 * Statements outside the protocol's transactions are written for READ COMMITTED: above it, a lost race is an error instead of a wait.
 */
const RELIED_UPON = '-c datestyle=ISO -c default_transaction_isolation=read\\ committed';

/**
 * A network that forgets a connection tells neither side, and the server would keep the session and its locks for two hours, which is the
 * default of Linux. With these probes it takes a minute. One such session may hold the lock of migrations, for which every start waits.
 */
const PROBED = '-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3';

/**
 * pg sends the `options` of the URL instead of those of its configuration, so both are put into the URL. Of two values for one setting
 * the later one counts: those in `url` override `defaults`, and nothing overrides {@link RELIED_UPON}.
 */
function withOptions(url: string, defaults: string): string {
  const complete = new URL(url);
  const options = [defaults, complete.searchParams.get('options'), RELIED_UPON].filter(Boolean).join(' ');
  complete.searchParams.set('options', options);
  return complete.href;
}

/**
 * The one description of the database, for Nest and the tests. The query of `url` overrides the limits: `?query_timeout=30000`.
 */
export function dataSourceOptions(url: string, poolSize = 2) {
  return {
    type: 'postgres',
    url: withOptions(url, `${PROBED} -c tcp_user_timeout=${FROZEN_MS}`),
    entities: [Balance, Charge, Customer, InventoryItem, Order],
    migrations,
    // The schema is made by migrations only.
    synchronize: false,
    installExtensions: false,
    logging: false,
    poolSize,
    connectTimeoutMS: CONNECT_TIMEOUT_MS,
    applicationName: 'payments',
    // A pool whose idle connection breaks, as at every restart of the database, must not end the process.
    poolErrorHandler: () => undefined,
    extra: {
      ...CONNECTION,
      lock_timeout: LOCK_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      idle_in_transaction_session_timeout: FROZEN_MS,
      query_timeout: QUERY_TIMEOUT_MS,
      idleTimeoutMillis: IDLE_TIMEOUT_MS,
      pipeline: true,
    },
  } satisfies DataSourceOptions;
}

/**
 * The same database without the limits of the service: a migration may take its time, and so may the replica that runs it. Neither the
 * limits in the query of `url` apply nor those that the server has for the role, of which 0 switches each off.
 */
export function migrationOptions(url: string): DataSourceOptions {
  const unlimited = new URL(url);
  for (const name of SERVER_LIMITS) unlimited.searchParams.delete(name);
  unlimited.searchParams.delete('query_timeout');
  const options = [PROBED, ...SERVER_LIMITS.map((name) => `-c ${name}=0`)].join(' ');
  return { ...dataSourceOptions(unlimited.href), url: withOptions(unlimited.href, options), extra: CONNECTION };
}
