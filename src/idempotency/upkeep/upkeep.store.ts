import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { inTransaction, type SqlResult } from '../../postgres/transaction.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { RequestIdentity } from '../request/request-identity.js';

/**
 * The longest pause before recovery takes a request over again, in recovery intervals: two minutes by default. A charge is finished
 * that soon after its bank is available again, and an undecided charge costs its bank no more than one or two calls in that time.
 */
const LONGEST_PAUSE_INTERVALS = 24;

/** A request that was taken over from a holder whose lease had expired. */
export interface Abandoned {
  identity: RequestIdentity;
  requestId: string;
}

/** The account whose turn it is, as {@link UpkeepStore.takeOver} finds it. */
export interface Turn {
  /** The account whose turn was before; the empty text for the first turn. */
  readonly after: string;
  /** Accounts that are skipped. */
  readonly except: readonly string[];
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
   * Takes over one request of an operation whose lease has expired. Accounts take turns: it is a request of the first account after
   * `turn.after` that has one due, by name.
   *
   * A request that was taken over before is due after a pause, which doubles each time up to {@link LONGEST_PAUSE_INTERVALS}. The
   * pause holds for this verb alone: a client's retry claims the key as soon as the lease has ended.
   *
   * @returns `undefined` if no request is due of any account after `turn.after`
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
    const [row] = rows as unknown as AbandonedRow[];
    return (
      row && {
        identity: new RequestIdentity(row.account_id, row.idempotency_key, operation, row.fingerprint),
        requestId: row.request_id,
      }
    );
  }

  /** The operations other than `resumed` that have unfinished requests whose lease has expired, and how many. */
  async unresumed(resumed: readonly string[]): Promise<Unresumed[]> {
    const { rows } = await this.run(UNRESUMED, [resumed]);
    return rows as unknown as Unresumed[];
  }

  /** Deletes up to `limit` completed rows past their retention, skipping those that somebody else has locked. */
  async sweep(limit: number): Promise<number> {
    const { rowCount } = await this.run(SWEEP, [this.retentionSeconds, limit]);
    return rowCount ?? 0;
  }

  /** Seconds since the oldest unfinished request was first claimed; 0 when nothing is unfinished. */
  async oldestUnfinishedSeconds(): Promise<number> {
    const [row] = await this.dataSource.query<{ seconds: number }[]>(OLDEST_UNFINISHED);
    return row?.seconds ?? 0;
  }

  /** A statement of its own, at the isolation of the protocol rather than the server's default. */
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

// Index conditions use `statement_timestamp()`. `clock_timestamp()` is volatile, so PostgreSQL could not search the index by it and would
// read all of it.

// $1 operation, $2 lock token, $3 lease s, $4 account before the one whose turn it is, $5 accounts that are passed over,
// $6 and $7 the shortest and the longest pause in s before recovery takes the request over again
export const TAKE_OVER = `
  WITH RECURSIVE turn (account_id, due_at) AS (
    -- The request that is due first of each account, in the order of their names. It reads one row for each account, however many
    -- requests the account has, and stops at the account that is served: the rows of a recursion are made as they are asked for.
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
      -- As long again as it is old, so that the pauses double, with a maximum. Set here rather than on failure: a request that ends the
      -- process which resumes it has to be put off as well. Random, so that what was left behind together does not come back together.
      recover_at = clock_timestamp() + (0.5 + random() / 2)
        * LEAST(GREATEST(clock_timestamp() - held.created_at, make_interval(secs => $6)), make_interval(secs => $7))
  FROM abandoned
  WHERE held.account_id = abandoned.account_id AND held.idempotency_key = abandoned.idempotency_key
  RETURNING held.account_id, held.idempotency_key, held.request_id, held.fingerprint`;

// $1 operations that are resumed here
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
  -- The first condition makes it a TID scan, and the second makes it exact: a ctid is unique within one partition only.
  WHERE ctid = ANY (ARRAY (SELECT ctid FROM expired)) AND (tableoid, ctid) IN (SELECT tableoid, ctid FROM expired)
    -- The invariant: only a completed key past its retention is deleted. Repeated for the very row that is deleted, and by a clock that
    -- no index can be searched by, because the index would read every expired row.
    AND completed_at IS NOT NULL AND created_at <= clock_timestamp() - make_interval(secs => $1)`;

export const OLDEST_UNFINISHED = `
  SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS seconds
  FROM processed_requests WHERE completed_at IS NULL`;
