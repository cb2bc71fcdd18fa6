import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { inTransaction, type SqlResult } from '../../postgres/transaction.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { RequestIdentity } from '../request/request-identity.js';

/**
 * The longest pause before recovery takes a request over again, in recovery intervals: two minutes by default. So a charge is finished
 * about two minutes after its bank is available again, at the latest. An undecided charge costs its bank at most one or two calls in two minutes.
 */
const LONGEST_PAUSE_INTERVALS = 24;

/** A request that was taken over because its lease had expired. */
export interface Abandoned {
  identity: RequestIdentity;
  requestId: string;
}

/** The place in the order of accounts from which {@link UpkeepStore.takeOver} continues. */
export interface Turn {
  /** The account that had the previous turn; the empty string for the first turn. */
  readonly after: string;
  /** Accounts that are skipped. */
  readonly except: readonly string[];
}

/** The name of a request within its operation. */
export interface RequestName {
  accountId: string;
  requestId: string;
}

/** Unfinished requests of an operation that this process does not resume. */
export interface Unresumed {
  operation: string;
  requests: number;
}

/** The statements of the background work on `processed_requests`: recovery and the sweep. */
@Injectable()
export class UpkeepStore {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {}

  /**
   * Takes over one request of an operation whose lease has expired. Accounts take turns in the order of their names: the request belongs to
   * the first account after `turn.after` that has a due request.
   *
   * A request that recovery has taken over before is due after a pause. The pause doubles each time, up to {@link LONGEST_PAUSE_INTERVALS}. A
   * client need not wait for this pause: its retry claims the key as soon as the lease has ended.
   *
   * @returns `undefined` if no account after `turn.after` has a due request
   */
  async takeOver(operation: string, lockToken: string, turn: Turn): Promise<Abandoned | undefined> {
    const { leaseSeconds, recoveryIntervalMs } = this.options;
    const shortest = recoveryIntervalMs / 1000;
    const pauses = [shortest, LONGEST_PAUSE_INTERVALS * shortest];
    const { rows } = await this.run(TAKE_OVER, [
      operation,
      lockToken,
      leaseSeconds,
      turn.after,
      turn.except,
      ...pauses,
    ]);
    return abandonedOf(operation, rows as unknown as AbandonedRow[]);
  }

  /**
   * Takes over one unfinished request, also while another attempt holds its lease. That attempt is fenced off, so nothing of it can be
   * committed from then on.
   *
   * @returns `undefined` if the account has no unfinished request of the operation with this id
   */
  async takeOverOne(operation: string, lockToken: string, request: RequestName): Promise<Abandoned | undefined> {
    const values = [operation, lockToken, this.options.leaseSeconds, request.accountId, request.requestId];
    const { rows } = await this.run(TAKE_OVER_ONE, values);
    return abandonedOf(operation, rows as unknown as AbandonedRow[]);
  }

  /** Counts the unfinished requests whose lease has expired, for each operation that is not in `resumed`. */
  async unresumed(resumed: readonly string[]): Promise<Unresumed[]> {
    const { rows } = await this.run(UNRESUMED, [resumed]);
    return rows as unknown as Unresumed[];
  }

  /** Deletes up to `limit` completed rows past their retention. Skips rows that another transaction has locked. */
  async sweep(limit: number): Promise<number> {
    const { rowCount } = await this.run(SWEEP, [this.retentionSeconds, limit]);
    return rowCount ?? 0;
  }

  /** Seconds since the oldest unfinished request was first claimed; 0 if no request is unfinished. */
  async oldestUnfinishedSeconds(): Promise<number> {
    const [row] = await this.dataSource.query<{ seconds: number }[]>(OLDEST_UNFINISHED);
    return row?.seconds ?? 0;
  }

  /** Runs one statement in its own transaction, at the isolation level of the protocol rather than the server's default. */
  private run(text: string, values: unknown[]): Promise<SqlResult> {
    return inTransaction(this.dataSource, ({ sql }) => sql.query({ text, values }));
  }

  private get retentionSeconds(): number {
    return this.options.retentionHours * 3600;
  }
}

interface AbandonedRow {
  account_id: string;
  idempotency_key: string;
  request_id: string;
  fingerprint: Buffer;
}

const abandonedOf = (operation: string, [row]: AbandonedRow[]): Abandoned | undefined =>
  row && {
    identity: new RequestIdentity(row.account_id, row.idempotency_key, operation, row.fingerprint),
    requestId: row.request_id,
  };

// Index conditions use `statement_timestamp()`. `clock_timestamp()` is volatile, so PostgreSQL could not search the index by it and would
// read the whole index.

// $1 operation, $2 lock token, $3 lease s, $4 account that had the previous turn, $5 accounts that are skipped,
// $6 and $7 the shortest and the longest pause in s before recovery takes the request over again
export const TAKE_OVER = `
  WITH RECURSIVE turn (account_id, due_at) AS (
    -- The time of the first due request of each account, in the order of account names. The recursion reads one row for each account,
    -- however many requests the account has. PostgreSQL computes its rows on demand, so it stops at the account whose request is taken.
    (SELECT account_id, GREATEST(locked_until, recover_at) FROM processed_requests
     WHERE completed_at IS NULL AND operation = $1 AND account_id > $4
     ORDER BY account_id, GREATEST(locked_until, recover_at) LIMIT 1)
    UNION ALL
    SELECT later.* FROM turn, LATERAL (
      SELECT account_id, GREATEST(locked_until, recover_at) FROM processed_requests
      WHERE completed_at IS NULL AND operation = $1 AND account_id > turn.account_id
      ORDER BY account_id, GREATEST(locked_until, recover_at) LIMIT 1) AS later
  ), abandoned AS MATERIALIZED (
    SELECT due.* FROM turn, LATERAL (
      SELECT account_id, idempotency_key FROM processed_requests
      WHERE completed_at IS NULL AND operation = $1 AND account_id = turn.account_id
        AND GREATEST(locked_until, recover_at) <= statement_timestamp()
      ORDER BY GREATEST(locked_until, recover_at) LIMIT 1
      FOR UPDATE SKIP LOCKED) AS due
    WHERE turn.due_at <= statement_timestamp() AND turn.account_id <> ALL ($5::text[])
    LIMIT 1)
  UPDATE processed_requests AS held
  SET lock_token = $2, locked_until = clock_timestamp() + make_interval(secs => $3),
      -- The pause is as long as the request is old, so the pauses double, up to a maximum. It is set here and not after a failure, because
      -- a request that crashes the process must be postponed as well. It is random, so that requests that were abandoned at the same
      -- moment do not become due at the same moment.
      recover_at = clock_timestamp() + (0.5 + random() / 2)
        * LEAST(GREATEST(clock_timestamp() - held.created_at, make_interval(secs => $6)), make_interval(secs => $7))
  FROM abandoned
  WHERE held.account_id = abandoned.account_id AND held.idempotency_key = abandoned.idempotency_key
  RETURNING held.account_id, held.idempotency_key, held.request_id, held.fingerprint`;

// $1 operation, $2 lock token, $3 lease s, $4 account, $5 request id. The index of unfinished requests serves the first three conditions.
export const TAKE_OVER_ONE = `
  UPDATE processed_requests SET lock_token = $2, locked_until = clock_timestamp() + make_interval(secs => $3)
  WHERE completed_at IS NULL AND operation = $1 AND account_id = $4 AND request_id = $5
  RETURNING account_id, idempotency_key, request_id, fingerprint`;

// $1 operations that this process resumes
export const UNRESUMED = `
  SELECT operation, count(*)::integer AS requests FROM processed_requests
  WHERE completed_at IS NULL AND operation <> ALL ($1::text[]) AND locked_until <= statement_timestamp()
  GROUP BY operation ORDER BY operation`;

// $1 retention s, $2 limit
export const SWEEP = `
  WITH expired AS MATERIALIZED (
    SELECT tableoid, ctid FROM processed_requests
    WHERE completed_at IS NOT NULL AND created_at <= statement_timestamp() - make_interval(secs => $1)
    ORDER BY created_at LIMIT $2
    FOR UPDATE SKIP LOCKED)
  DELETE FROM processed_requests
  -- The first condition gives a TID scan. The second one is exact, because a ctid is unique within one partition only.
  WHERE ctid = ANY (ARRAY (SELECT ctid FROM expired)) AND (tableoid, ctid) IN (SELECT tableoid, ctid FROM expired)
    -- The invariant: only a completed key past its retention is deleted. The condition is repeated for the row that is deleted. It uses
    -- clock_timestamp() so that no index is used for it, because an index scan would read every expired row.
    AND completed_at IS NOT NULL AND created_at <= clock_timestamp() - make_interval(secs => $1)`;

export const OLDEST_UNFINISHED = `
  SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS seconds
  FROM processed_requests WHERE completed_at IS NULL`;
