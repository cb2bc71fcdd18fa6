import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from './idempotency.options.js';
import { RecordedReply } from './reply.js';
import { inTransaction, type SqlClient, type SqlResult } from './transaction.js';

/** Which request: the account and the key name it, the fingerprint says what it is. */
export interface RequestIdentity {
  readonly accountId: string;
  readonly key: string;
  /** Method and route, such as `POST /charges`. */
  readonly operation: string;
  readonly fingerprint: Buffer;
}

/** What became of an attempt to claim a key. */
export type Claim =
  /** The key is ours until the lease lapses. `requestId` is the same at every retry of one request. */
  | { kind: 'claimed'; requestId: string }
  /** The reply is recorded. `lockToken` tells who recorded it. */
  | { kind: 'completed'; reply: RecordedReply; lockToken: string }
  /** Another holder's lease is running. */
  | { kind: 'in_progress' }
  /** The key stands for another request. */
  | { kind: 'reused' }
  /** The row changed between two looks at it; the next statement sees the change. */
  | { kind: 'raced' };

/** A request that was taken over from a holder whose lease had lapsed. */
export interface Abandoned extends RequestIdentity {
  requestId: string;
}

/** The state of a key, as its owner may read it. */
export interface KeyStatus {
  status: 'in_progress' | 'completed';
  operation: string;
  createdAt: Date;
  expiresAt: Date;
}

/**
 * The rows of `processed_requests`: one verb, one statement.
 *
 * ```
 *             claim                       complete
 *  (none) ───────────────▶ in progress ───────────────▶ completed ──retention──▶ (none)
 *     ▲                     │      ▲                        │        sweep, or
 *     │                     └──────┘                        │        the next claim
 *     │       claim, takeOver: once the lease has lapsed    │
 *     └─────────────────────────────────────────────────────┘
 * ```
 *
 * `release` lets a lease lapse at once. In progress is left by `complete` alone: no sweep, no expiry. Only the
 * holder of the lock token completes. Completed rows never change.
 *
 * Every time is the database's `clock_timestamp()`, which moves within a transaction, as `now()` does not.
 */
@Injectable()
export class IdempotencyStore {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {}

  /**
   * Takes the key for `lockToken`: a new key, an expired one, one of ours (after a lost COMMIT), or one whose
   * lease has lapsed. Waits for an uncommitted insert of the same key, which a plain SELECT would not see.
   *
   * A key that cannot be taken is only read, so that a replay costs one indexed read and writes nothing.
   */
  async claim(sql: SqlClient, request: RequestIdentity, lockToken: string, newRequestId: string): Promise<Claim> {
    const { rows } = await sql.query({
      name: 'idempotency_claim',
      text: CLAIM,
      values: [
        request.accountId,
        request.key,
        newRequestId,
        request.operation,
        request.fingerprint,
        lockToken,
        this.options.leaseSeconds,
        this.retentionSeconds,
      ],
    });
    const row = rows[0] as ClaimRow | undefined;
    if (!row) return { kind: 'raced' };
    if (row.claimed) return { kind: 'claimed', requestId: row.request_id };
    // It could be taken when it was read, and was not: another was faster, so what was read is out of date.
    if (row.claimable) return { kind: 'raced' };
    if (!row.fingerprint.equals(request.fingerprint)) return { kind: 'reused' };
    if (row.response_status !== null)
      return { kind: 'completed', reply: recordedReply(row), lockToken: row.lock_token };
    return { kind: 'in_progress' };
  }

  /**
   * Records the reply, if `lockToken` still holds the key.
   *
   * @returns false when somebody else took over: whatever this transaction has done must be rolled back
   */
  async complete(sql: SqlClient, request: RequestIdentity, lockToken: string, reply: RecordedReply): Promise<boolean> {
    const { rowCount } = await sql.query({
      name: 'idempotency_complete',
      text: COMPLETE,
      values: [
        request.accountId,
        request.key,
        lockToken,
        reply.status,
        reply.headers,
        reply.body,
        this.retentionSeconds,
      ],
    });
    return rowCount === 1;
  }

  /** Ends the lease of an attempt that failed, so that the next one need not wait for it to lapse. */
  async release(request: RequestIdentity, lockToken: string): Promise<void> {
    await this.run(RELEASE, [request.accountId, request.key, lockToken]);
  }

  /** Takes over up to `limit` requests of one operation whose lease has lapsed, the longest lapsed first. */
  async takeOver(operation: string, lockToken: string, limit: number): Promise<Abandoned[]> {
    const parameters = [operation, lockToken, this.options.leaseSeconds, limit];
    const { rows } = await this.run(TAKE_OVER, parameters);
    return (rows as unknown as AbandonedRow[]).map((row) => ({
      accountId: row.account_id,
      key: row.idempotency_key,
      requestId: row.request_id,
      operation,
      fingerprint: row.fingerprint,
    }));
  }

  /** The state of one key; `undefined` when it is unknown, or completed and expired. */
  async find(accountId: string, key: string): Promise<KeyStatus | undefined> {
    const [row] = await this.dataSource.query<KeyStatusRow[]>(FIND, [accountId, key, this.retentionSeconds]);
    return (
      row && { status: row.status, operation: row.operation, createdAt: row.created_at, expiresAt: row.expires_at }
    );
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

// $1 account, $2 key, $3 new request id, $4 operation, $5 fingerprint, $6 lock token, $7 lease s, $8 retention s
const CLAIM = `
  WITH found AS (
    SELECT request_id, fingerprint, lock_token, response_status, response_headers, response_body,
           CASE WHEN completed_at IS NULL THEN fingerprint = $5 AND (locked_until <= clock_timestamp() OR lock_token = $6)
                ELSE created_at <= clock_timestamp() - make_interval(secs => $8) END AS claimable
    FROM processed_requests
    WHERE account_id = $1 AND idempotency_key = $2
  ), claimed AS (
    INSERT INTO processed_requests AS held
      (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
    SELECT $1, $2, $3::uuid, $4, $5::bytea, $6::uuid, clock_timestamp() + make_interval(secs => $7), clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM found WHERE NOT claimable)
    ON CONFLICT (account_id, idempotency_key) DO UPDATE SET
      -- An unfinished request goes on under its own name; an expired one makes room for a new request.
      request_id = CASE WHEN held.completed_at IS NULL THEN held.request_id ELSE excluded.request_id END,
      created_at = CASE WHEN held.completed_at IS NULL THEN held.created_at ELSE excluded.created_at END,
      operation = excluded.operation,
      fingerprint = excluded.fingerprint,
      lock_token = excluded.lock_token,
      locked_until = excluded.locked_until,
      response_status = NULL, response_headers = NULL, response_body = NULL, completed_at = NULL
    -- Judged again on the row as it is once it can be locked: of two takeovers, one gets it.
    WHERE CASE WHEN held.completed_at IS NULL
               THEN held.fingerprint = $5 AND (held.locked_until <= clock_timestamp() OR held.lock_token = $6)
               ELSE held.created_at <= clock_timestamp() - make_interval(secs => $8) END
    RETURNING request_id
  )
  SELECT true AS claimed, request_id, NULL::bytea AS fingerprint, NULL::uuid AS lock_token, NULL::smallint AS response_status,
         NULL::jsonb AS response_headers, NULL::text AS response_body, true AS claimable
  FROM claimed
  UNION ALL
  SELECT false, request_id, fingerprint, lock_token, response_status, response_headers, response_body, claimable
  FROM found WHERE NOT EXISTS (SELECT FROM claimed)`;

// $1 account, $2 key, $3 lock token, $4 status, $5 headers, $6 body, $7 retention s
const COMPLETE = `
  UPDATE processed_requests
  SET response_status = $4, response_headers = $5, response_body = $6, completed_at = clock_timestamp(), locked_until = NULL,
      -- Finished late, after an outage of hours, it is kept as long as if it had just come. Otherwise it would expire as
      -- it is finished, and the client that has been sending it all the while would make it anew.
      created_at = CASE WHEN created_at > clock_timestamp() - make_interval(secs => $7 / 2) THEN created_at
                        ELSE clock_timestamp() END
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NULL`;

// $1 account, $2 key, $3 lock token
const RELEASE = `
  UPDATE processed_requests SET locked_until = clock_timestamp()
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NULL`;

// $1 operation, $2 lock token, $3 lease s, $4 limit
const TAKE_OVER = `
  WITH abandoned AS MATERIALIZED (
    SELECT account_id, idempotency_key FROM processed_requests
    WHERE completed_at IS NULL AND locked_until <= clock_timestamp() AND operation = $1
    ORDER BY locked_until LIMIT $4
    FOR UPDATE SKIP LOCKED)
  UPDATE processed_requests AS held
  SET lock_token = $2, locked_until = clock_timestamp() + make_interval(secs => $3)
  FROM abandoned
  WHERE held.account_id = abandoned.account_id AND held.idempotency_key = abandoned.idempotency_key
  RETURNING held.account_id, held.idempotency_key, held.request_id, held.fingerprint`;

// $1 account, $2 key, $3 retention s
const FIND = `
  SELECT CASE WHEN completed_at IS NULL THEN 'in_progress' ELSE 'completed' END AS status,
         operation, created_at, created_at + make_interval(secs => $3) AS expires_at
  FROM processed_requests
  WHERE account_id = $1 AND idempotency_key = $2
    AND (completed_at IS NULL OR created_at > clock_timestamp() - make_interval(secs => $3))`;

// $1 retention s, $2 limit
const SWEEP = `
  WITH expired AS MATERIALIZED (
    SELECT account_id, idempotency_key FROM processed_requests
    WHERE completed_at IS NOT NULL AND created_at <= clock_timestamp() - make_interval(secs => $1)
    ORDER BY created_at LIMIT $2
    FOR UPDATE SKIP LOCKED)
  DELETE FROM processed_requests AS held USING expired
  WHERE held.account_id = expired.account_id AND held.idempotency_key = expired.idempotency_key`;

const OLDEST_UNFINISHED = `
  SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS seconds
  FROM processed_requests WHERE completed_at IS NULL`;

interface ClaimRow {
  claimed: boolean;
  claimable: boolean;
  request_id: string;
  fingerprint: Buffer;
  lock_token: string;
  response_status: number | null;
  response_headers: Record<string, string>;
  response_body: string;
}

interface AbandonedRow {
  account_id: string;
  idempotency_key: string;
  request_id: string;
  fingerprint: Buffer;
}

interface KeyStatusRow {
  status: 'in_progress' | 'completed';
  operation: string;
  created_at: Date;
  expires_at: Date;
}

const recordedReply = (row: ClaimRow) =>
  new RecordedReply(row.response_status ?? 0, row.response_headers, row.response_body);
