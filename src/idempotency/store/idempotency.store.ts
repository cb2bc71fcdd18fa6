import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { isLockTimeout } from '../../postgres/database-errors.js';
import { AWAIT_STANDBYS } from '../../postgres/replication.js';
import { inTransaction, type SqlClient, type SqlResult } from '../../postgres/transaction.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';
import type { Attempt, Claim, Completion } from './claim.js';

/** Another attempt has taken over, so nothing of this attempt may be committed. */
export class FencedOff extends Error {}

/** A transaction has locked the key for longer than `lock_timeout`. */
export class KeyLocked extends Error {}

/** The state of a key, as its owner may read it. */
export interface KeyStatus {
  status: 'in_progress' | 'completed';
  operation: string;
  createdAt: Date;
  expiresAt: Date;
}

/**
 * The rows of `processed_requests`, with one method for each verb of the protocol.
 *
 * ```
 *             claim                       complete
 *  (none) ───────────────▶ in progress ───────────────▶ completed ──retention──▶ (none)
 *   ▲  ▲                    │   │  ▲                        │        sweep, or
 *   │  └────── forget ──────┘   └──┘                        │        the next claim
 *   │           claim, takeOver: once the lease has expired │
 *   └───────────────────────────────────────────────────────┘
 * ```
 *
 * `release` ends a lease at once. Only `complete` finishes a request in progress, and only `forget` deletes it, if its intent is missing. The
 * sweep never deletes a request in progress, however old the request is. Only the holder of the lock token completes or forgets. Completed
 * rows never change.
 *
 * The clock of the database decides whether a lease or a key has expired, because the clocks of replicas differ. The statements use
 * `clock_timestamp()`, because `now()` stands still within a transaction.
 */
@Injectable()
export class IdempotencyStore {
  private readonly retentionSeconds: number;

  constructor(
    private readonly dataSource: DataSource,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {
    this.retentionSeconds = options.retentionHours * 3_600;
  }

  /**
   * Takes the key for the lock token of the attempt, if the key is new or expired, if the lease of its request has expired, or if the token
   * holds the key already (after a lost COMMIT). A key that cannot be taken is only read.
   *
   * The unique constraint decides which of several attempts inserts the key. The read before the insert only makes a replay cheaper.
   *
   * @param sql within a transaction, so that the claim is committed with its intent or its effect, or not at all
   * @throws KeyLocked
   */
  async claim(sql: SqlClient, attempt: Attempt): Promise<Claim> {
    const { identity, lockToken, newRequestId, isInDoubt } = attempt;
    const seen = await this.read(sql, attempt);
    if (seen.kind !== 'free') return seen;
    // An insert waits for a transaction that is writing the same key, and holds a connection during the wait. Trying the advisory lock finds
    // such a transaction without waiting. An attempt in doubt has to wait, because a SELECT does not see a commit that is still under way.
    if (!isInDoubt && !(await this.tryLock(sql, identity))) return { kind: 'in_progress' };
    const { accountId, key, operation, fingerprint } = identity;
    const { leaseSeconds } = this.options;
    const values = [
      accountId,
      key,
      newRequestId,
      operation,
      fingerprint,
      lockToken,
      leaseSeconds,
      this.retentionSeconds,
    ];
    const claim = sql.query({ name: 'idempotency_claim', text: CLAIM, values });
    const { rows } = await claim.catch((error: unknown) => {
      throw isLockTimeout(error) ? new KeyLocked() : error;
    });
    const [row] = rows as { request_id: string }[];
    // No row is returned if another attempt has taken the key since it was read.
    return row ? { kind: 'claimed', requestId: row.request_id } : { kind: 'in_progress' };
  }

  private async read(sql: SqlClient, { identity, lockToken }: Attempt): Promise<Claim | { kind: 'free' }> {
    const askedAt = performance.now();
    const values = [identity.accountId, identity.key, lockToken, this.retentionSeconds, identity.fingerprint];
    const { rows } = await sql.query({ name: 'idempotency_read', text: READ, values });
    const [row] = rows as unknown as KeyRow[];
    if (!row || row.has_expired) return { kind: 'free' };
    if (!row.fingerprint.equals(identity.fingerprint)) return { kind: 'reused' };
    if (row.response_status === null) return row.is_held ? { kind: 'in_progress' } : { kind: 'free' };
    const expiry = { epochMs: row.expires_at_ms, notBefore: askedAt + row.lives_seconds * 1000 };
    const reply = new RecordedReply(row.response_status, row.response_headers, row.response_body, expiry);
    return { kind: 'completed', reply, lockToken: row.lock_token };
  }

  private async tryLock(sql: SqlClient, { accountId, key }: RequestIdentity): Promise<boolean> {
    const { rows } = await sql.query({ name: 'idempotency_lock', text: TRY_LOCK, values: [accountId, key] });
    return rows[0]?.['is_locked'] === true;
  }

  /**
   * Records a reply.
   *
   * The invariant: only the holder of the current lock token completes, so the UPDATE must change exactly one row.
   *
   * @param sql within the transaction of the effect
   * @returns the reply, with the time when its key expires
   * @throws FencedOff, which must roll the transaction back
   */
  async complete(sql: SqlClient, { identity, lockToken, reply }: Completion): Promise<RecordedReply> {
    const { status, headers, body } = reply;
    const askedAt = performance.now();
    const values = [
      identity.accountId,
      identity.key,
      lockToken,
      status,
      JSON.stringify(headers),
      body,
      this.retentionSeconds,
    ];
    const { rows } = await sql.query({ name: 'idempotency_complete', text: COMPLETE, values });
    const [row] = rows as unknown as ExpiryRow[];
    if (!row) throw new FencedOff();
    const expiry = { epochMs: row.expires_at_ms, notBefore: askedAt + row.lives_seconds * 1000 };
    return new RecordedReply(status, headers, body, expiry);
  }

  /** Ends the lease of an attempt that failed, so that the next attempt need not wait for the lease to expire. */
  async release({ accountId, key }: RequestIdentity, lockToken: string): Promise<void> {
    await this.run(RELEASE, [accountId, key, lockToken]);
  }

  /**
   * Deletes the key of an unfinished request, so that the next request with this key is new. Use it only for a request that is known to have
   * done nothing. Nothing is deleted if the lock token no longer holds the key.
   */
  async forget({ accountId, key }: RequestIdentity, lockToken: string): Promise<void> {
    await this.run(FORGET, [accountId, key, lockToken]);
  }

  /** The state of one key; `undefined` if the key is unknown, or completed and expired. */
  async find(accountId: string, key: string): Promise<KeyStatus | undefined> {
    const [row] = await this.dataSource.query<KeyStatusRow[]>(FIND, [accountId, key, this.retentionSeconds]);
    return (
      row && { status: row.status, operation: row.operation, createdAt: row.created_at, expiresAt: row.expires_at }
    );
  }

  /** Runs one statement in its own transaction, at the isolation level of the protocol rather than the server's default. */
  private run(text: string, values: unknown[]): Promise<SqlResult> {
    return inTransaction(this.dataSource, ({ sql }) => sql.query({ text, values }));
  }
}

/** The columns that say when a key expires. */
interface ExpiryRow {
  expires_at_ms: number;
  lives_seconds: number;
}

/** A row that READ returns. */
type KeyRow = ExpiryRow & {
  has_expired: boolean;
  /** Whether another attempt holds the lease. */
  is_held: boolean;
  fingerprint: Buffer;
  lock_token: string;
} & (
    | { response_status: null }
    | { response_status: number; response_headers: Record<string, string>; response_body: string }
  );

interface KeyStatusRow {
  status: 'in_progress' | 'completed';
  operation: string;
  created_at: Date;
  expires_at: Date;
}

/** The columns of an {@link ExpiryRow}. `retention` is the parameter with the retention in seconds. */
const expiryOf = (retention: string) => `
         (extract(epoch FROM created_at)::float8 + ${retention}) * 1000 AS expires_at_ms,
         extract(epoch FROM created_at - clock_timestamp())::float8 + ${retention} AS lives_seconds`;

// $1 account, $2 key, $3 lock token, $4 retention s, $5 fingerprint
const READ = `
  SELECT fingerprint, lock_token, response_status, response_headers, response_body,
         completed_at IS NOT NULL AND created_at <= clock_timestamp() - make_interval(secs => $4) AS has_expired,
         locked_until > clock_timestamp() AND lock_token <> $3 AS is_held,
         ${expiryOf('$4')},
         -- This row decides the final answer, so the answer must wait until the row is replicated.
         CASE WHEN response_status IS NOT NULL OR fingerprint <> $5 THEN ${AWAIT_STANDBYS} END
  FROM processed_requests WHERE account_id = $1 AND idempotency_key = $2`;

// $1 account, $2 key. The lock ends with the transaction.
const TRY_LOCK = `
  SELECT pg_try_advisory_xact_lock(hashtextextended($2, hashtextextended($1, 0))) AS is_locked`;

/**
 * The rule that decides which attempt may take an existing key, for both committers. The row `held` is left unchanged if another attempt holds
 * its lease, or if its reply has not expired. $8 is the retention in seconds.
 */
export const TAKE_IF_FREE = `ON CONFLICT (account_id, idempotency_key) DO UPDATE SET
  -- Taking over an unfinished request keeps its request id. An expired key gets the id of the new request.
  request_id = CASE WHEN held.completed_at IS NULL THEN held.request_id ELSE excluded.request_id END,
  created_at = CASE WHEN held.completed_at IS NULL THEN held.created_at ELSE excluded.created_at END,
  recover_at = CASE WHEN held.completed_at IS NULL THEN held.recover_at END,
  operation = excluded.operation,
  fingerprint = excluded.fingerprint,
  lock_token = excluded.lock_token,
  locked_until = excluded.locked_until,
  response_status = NULL, response_headers = NULL, response_body = NULL, completed_at = NULL
-- Checked on the locked row: if two attempts take over at once, only the first one still finds the lease expired.
WHERE CASE WHEN held.completed_at IS NULL
           THEN held.fingerprint = excluded.fingerprint
             AND (held.locked_until <= clock_timestamp() OR held.lock_token = excluded.lock_token)
           ELSE held.created_at <= clock_timestamp() - make_interval(secs => $8) END`;

// $1 account, $2 key, $3 new request id, $4 operation, $5 fingerprint, $6 lock token, $7 lease s, $8 retention s
const CLAIM = `
  INSERT INTO processed_requests AS held
    (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
  VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7), clock_timestamp())
  ${TAKE_IF_FREE}
  RETURNING request_id`;

// $1 account, $2 key, $3 lock token, $4 status, $5 headers, $6 body, $7 retention s
const COMPLETE = `
  UPDATE processed_requests
  SET response_status = $4, response_headers = $5, response_body = $6, completed_at = clock_timestamp(), locked_until = NULL,
      -- A request that is completed late, after an outage of hours, is kept as long as a new one. Otherwise its key could expire while
      -- its client is still retrying, and the retry would run the operation again.
      created_at = CASE WHEN created_at > clock_timestamp() - make_interval(secs => $7::float8 / 2) THEN created_at
                        ELSE clock_timestamp() END
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NULL
  RETURNING ${expiryOf('$7')}`;

// $1 account, $2 key, $3 lock token
const RELEASE = `
  UPDATE processed_requests SET locked_until = clock_timestamp()
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NULL`;

// $1 account, $2 key, $3 lock token
export const FORGET = `
  DELETE FROM processed_requests
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NULL`;

// $1 account, $2 key, $3 retention s
const FIND = `
  SELECT CASE WHEN completed_at IS NULL THEN 'in_progress' ELSE 'completed' END AS status,
         operation, created_at, created_at + make_interval(secs => $3) AS expires_at
  FROM processed_requests
  WHERE account_id = $1 AND idempotency_key = $2
    AND (completed_at IS NULL OR created_at > clock_timestamp() - make_interval(secs => $3))`;
