import { countEffects, type Effects } from '../../harness/effects.js';
import { canonicalRequest, fingerprintOf } from '../../src/idempotency/http/fingerprint.js';
import type { TestDatabase } from './database.js';
import { CHARGE } from './service.js';

/** The state that a crash can leave of one POST /charges. */
export interface CrashState {
  key: string;
  /** Whether the bank had captured the money before the crash. */
  captured?: boolean;
  /** Seconds until the lease expires; negative if the lease has expired. */
  leaseSeconds?: number;
  source?: string;
  accountId?: string;
}

/** Inserts the rows that a process leaves if it crashes between its two commits. The rows are inserted with SQL alone, without code of the service. */
export async function leaveBehind(
  { sql }: TestDatabase,
  { key, captured = false, leaseSeconds = -1, source = 'tok_visa', accountId = 'acct_demo' }: CrashState,
): Promise<void> {
  const requestId = (await sql<{ id: string }>('SELECT gen_random_uuid() AS id'))[0]?.id ?? '';
  const chargeId = `ch_${requestId.replaceAll('-', '')}`;
  const body = source === 'tok_visa' ? CHARGE : { ...CHARGE, source };
  await sql(
    `INSERT INTO processed_requests
       (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
     VALUES ($1, $2, $3, 'POST /charges', $4, gen_random_uuid(), now() + make_interval(secs => $5), now() - interval '1 minute')`,
    [
      accountId,
      key,
      requestId,
      fingerprintOf(canonicalRequest('POST /charges', { path: {}, query: {} }, body)),
      leaseSeconds,
    ],
  );
  await sql(
    `INSERT INTO charges (account_id, id, amount, currency, source, metadata, status, created_at)
     VALUES ($1, $2, $3, $4, $5, '{}', 'pending', now() - interval '1 minute')`,
    [accountId, chargeId, CHARGE.amount, CHARGE.currency, source],
  );
  if (captured) {
    await sql(
      `INSERT INTO bank.captures (account_id, idempotency_key, charge_id, amount, currency) VALUES ($1, $2, $2, $3, $4)`,
      [accountId, chargeId, CHARGE.amount, CHARGE.currency],
    );
  }
}

/** The state that a crash can leave of one POST /charges/:id/refunds. */
export interface RefundCrashState {
  key: string;
  /** A charge of `acct_demo`. */
  chargeId: string;
  /** The amount of the pending refund; undefined if the process had refused the refund and not recorded the refusal. */
  opened?: number;
  /** Whether the bank had paid the refund before the crash. */
  paid?: boolean;
  /** The body of the request. */
  body?: object;
}

/** Inserts the rows that a process leaves if it crashes between the two commits of a refund, with an expired lease. */
export async function leaveRefundBehind(
  { sql }: TestDatabase,
  { key, chargeId, opened, paid = false, body = { amount: opened } }: RefundCrashState,
): Promise<void> {
  const requestId = (await sql<{ id: string }>('SELECT gen_random_uuid() AS id'))[0]?.id ?? '';
  const refundId = `re_${requestId.replaceAll('-', '')}`;
  const request = canonicalRequest('POST /charges/:id/refunds', { path: { id: chargeId }, query: {} }, body);
  await sql(
    `INSERT INTO processed_requests
       (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
     VALUES ('acct_demo', $1, $2, 'POST /charges/:id/refunds', $3, gen_random_uuid(),
       now() - interval '1 second', now() - interval '1 minute')`,
    [key, requestId, fingerprintOf(request)],
  );
  if (opened === undefined) return;
  await sql(
    `INSERT INTO refunds (account_id, id, charge_id, amount, currency, status, created_at)
     VALUES ('acct_demo', $1, $2, $3, $4, 'pending', now() - interval '1 minute')`,
    [refundId, chargeId, opened, CHARGE.currency],
  );
  if (paid) {
    await sql(
      `INSERT INTO bank.refunds (account_id, idempotency_key, charge_id, amount, currency) VALUES ('acct_demo', $1, $2, $3, $4)`,
      [refundId, chargeId, opened, CHARGE.currency],
    );
  }
}

/** The refunds that have succeeded and those that are pending, and the refunds of the bank: numbers and sums. */
export async function refundsOf({ sql }: TestDatabase): Promise<Record<'succeeded' | 'pending' | 'paid', string>> {
  const [sums] = await sql<Record<'succeeded' | 'pending' | 'paid', string>>(`
    SELECT (SELECT concat(count(*), ' of ', coalesce(sum(amount), 0)) FROM refunds WHERE status = 'succeeded') AS succeeded,
           (SELECT concat(count(*), ' of ', coalesce(sum(amount), 0)) FROM refunds WHERE status = 'pending') AS pending,
           (SELECT concat(count(*), ' of ', coalesce(sum(amount), 0)) FROM bank.refunds) AS paid`);
  if (!sums) throw new Error('A SELECT without FROM returned no row');
  return sums;
}

/** Counts all charges, captures and keys in a database. */
export const effects = ({ sql }: TestDatabase): Promise<Effects> => countEffects(sql);

/** One charge, captured once, with its reply on record. */
export const ONE_CHARGE: Effects = { succeeded: 1, failed: 0, pending: 0, captures: 1, completed: 1, in_progress: 0 };

/** Nothing at all. */
export const NOTHING: Effects = { succeeded: 0, failed: 0, pending: 0, captures: 0, completed: 0, in_progress: 0 };

/** Empties every table, so that each test counts from zero. */
export const reset = ({ sql }: TestDatabase) =>
  sql(`
    TRUNCATE processed_requests, charges, refunds, stripe_payments, unmatched_events, reported_refunds, disputes, bank.captures, bank.refunds, outbox,
      processed_messages, failed_messages, inventory, orders,
      order_payments, customers, balances, mailed_orders`);
