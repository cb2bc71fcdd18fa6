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
/** A process that freezes within a transaction blocks its rows no longer than this. */
const IDLE_IN_TRANSACTION_MS = 5_000;
/** When no connection can be had in this time, the request is told that the database is away. */
const CONNECT_TIMEOUT_MS = 3_000;

/** The one description of the database, for Nest, the command line and the tests. */
export function dataSourceOptions(url: string, poolSize = 2) {
  return {
    type: 'postgres',
    url,
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
      lock_timeout: LOCK_TIMEOUT_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      pipeline: true,
      keepAlive: true,
    },
  } satisfies DataSourceOptions;
}
