import { Client } from 'pg';
import { CONSUMERS } from './consumers.js';
import type { DatabaseState } from './evidence.js';
import { CURRENCY } from './operations.js';

const TABLES: Record<keyof DatabaseState, string> = {
  charges: `SELECT account_id, id, amount, currency, description, order_id, status, decline_code,
                   extract(epoch FROM created_at)::float8 * 1000 AS created_at FROM charges`,
  refunds: 'SELECT account_id, id, charge_id, amount, currency, reason, status FROM refunds',
  requests: `SELECT account_id, idempotency_key, request_id, operation, response_status,
                    response_headers->>'content-type' AS content_type, response_body,
                    completed_at IS NOT NULL AS completed FROM processed_requests`,
  orders: 'SELECT account_id, order_id, status, amount::float8 AS amount, customer_id, items FROM orders',
  stock: 'SELECT account_id, item_id, stock FROM inventory',
  messages: 'SELECT account_id, id, published_at IS NOT NULL AS published FROM outbox',
  taken: 'SELECT account_id, id, was_fresh FROM chaos.taken',
  processed: `SELECT account_id, consumer, message_id FROM processed_messages WHERE consumer <> 'stripe'`,
  events: `SELECT account_id, consumer, message_id FROM processed_messages WHERE consumer = 'stripe'`,
  deadLetters: 'SELECT account_id, consumer, message_id FROM failed_messages WHERE dead_at IS NOT NULL',
  balances: 'SELECT account_id, currency AS of, amount::float8 AS amount FROM balances',
  payments: 'SELECT account_id, order_id AS of, amount::float8 AS amount FROM order_payments',
  changes: 'SELECT account_id, idempotency_key, change FROM chaos.changes',
};

/**
 * The number of unfinished keys, charges, refunds and messages. A message that a broker has accepted is unfinished until each of its consumers ($1)
 * has processed it.
 */
const UNFINISHED = `
  SELECT (SELECT count(*) FROM processed_requests WHERE completed_at IS NULL)
       + (SELECT count(*) FROM charges WHERE status = 'pending')
       + (SELECT count(*) FROM refunds WHERE status = 'pending')
       + (SELECT count(*) FROM outbox WHERE published_at IS NULL)
       + (SELECT count(*) FROM outbox, unnest($1::text[]) AS consumer
          WHERE (consumer = 'balance' OR data->>'order_id' IS NOT NULL) AND (account_id, consumer, id) NOT IN (
            SELECT account_id, consumer, message_id FROM processed_messages)) AS count`;

/**
 * Triggers that record each change of a completed record, each deletion before the record expires, and each deletion of a message that is not
 * published. They are not part of the service, so the checker does not have to trust the service.
 */
const WATCH = `
  CREATE SCHEMA chaos;
  CREATE TABLE chaos.changes (account_id text, idempotency_key text, change text);
  CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF OLD.created_at > clock_timestamp() - interval '24 hours' THEN
      INSERT INTO chaos.changes VALUES (OLD.account_id, OLD.idempotency_key, lower(TG_OP));
    END IF;
    RETURN NULL;
  END $$;
  CREATE TRIGGER note AFTER UPDATE OR DELETE ON processed_requests
    FOR EACH ROW WHEN (OLD.completed_at IS NOT NULL) EXECUTE FUNCTION chaos.note();
  CREATE TABLE chaos.taken (account_id text, id text, was_fresh boolean);
  CREATE FUNCTION chaos.note_taken() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO chaos.taken VALUES (OLD.account_id, OLD.id, OLD.available_at IS NULL);
    RETURN NULL;
  END $$;
  CREATE TRIGGER note_taken AFTER DELETE ON outbox
    FOR EACH ROW WHEN (OLD.published_at IS NULL) EXECUTE FUNCTION chaos.note_taken()`;

/**
 * Locks the balance of an account, whether or not it exists. ROLLBACK leaves the balance as it was.
 *
 * $1 account, $2 currency
 */
const LOCK_BALANCE = `
  INSERT INTO balances AS balance (account_id, currency, amount) VALUES ($1, $2, 0)
  ON CONFLICT (account_id, currency) DO UPDATE SET amount = balance.amount`;

// $1 process id of a session
const WAITING = 'SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))';

/** The database of a run, read without the service and without its proxies. */
export class ObservedDatabase {
  constructor(readonly url: string) {}

  /** Makes the database record forbidden changes. Call this after the migrations. */
  async watch(): Promise<void> {
    await this.query(WATCH);
  }

  async read(): Promise<DatabaseState> {
    return this.withClient(async (client) => {
      await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      const state: Partial<Record<keyof DatabaseState, unknown>> = {};
      for (const [table, text] of Object.entries(TABLES)) {
        state[table as keyof DatabaseState] = (await client.query(text)).rows;
      }
      await client.query('COMMIT');
      return state as unknown as DatabaseState;
    });
  }

  /** How many keys, charges, refunds and messages are unfinished. */
  async unfinished(): Promise<number> {
    return Number((await this.query(UNFINISHED, [CONSUMERS]))[0]?.['count']);
  }

  /**
   * Locks the balance of an account while `work` runs, as the transaction of an operator would do.
   *
   * @param work gets a function that returns whether a statement of another session waits for the lock
   */
  async whileLocked(account: string, work: (hasWaiting: () => Promise<boolean>) => Promise<void>): Promise<void> {
    await this.withClient(async (client) => {
      await client.query('BEGIN');
      await client.query(LOCK_BALANCE, [account, CURRENCY]);
      const [session] = (await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')).rows;
      await work(async () => (await this.query(WAITING, [session?.pid])).length > 0);
      await client.query('ROLLBACK');
    });
  }

  async query(text: string, values?: unknown[]): Promise<Record<string, unknown>[]> {
    return this.withClient(async (client) => (await client.query<Record<string, unknown>>(text, values)).rows);
  }

  /** Opens a new connection each time, because the server may have been killed since the last one. */
  private async withClient<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const client = new Client({ connectionString: this.url, connectionTimeoutMillis: 5_000 });
    client.on('error', () => undefined);
    const warnings: Error[] = [];
    // A commit whose wait for a standby was cancelled succeeds with this warning only, and a failover may lose it.
    client.on(
      'notice',
      ({ severity, message = '' }) => void (severity === 'WARNING' && warnings.push(new Error(message))),
    );
    await client.connect();
    try {
      const result = await work(client);
      if (warnings[0]) throw warnings[0];
      return result;
    } finally {
      await client.end();
    }
  }
}
