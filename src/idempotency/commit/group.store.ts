import { Inject, Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { isLockTimeout, sqlState } from '../../postgres/database-errors.js';
import { AWAIT_STANDBYS } from '../../postgres/replication.js';
import { IS_IN_TRANSACTION, type SqlClient } from '../../postgres/transaction.js';
import { IDEMPOTENCY_OPTIONS, type IdempotencyOptions } from '../idempotency.options.js';
import { type Expiry, RecordedReply } from '../request/reply.js';
import type { RequestIdentity } from '../request/request-identity.js';
import type { Attempt, Claim, Completion } from '../store/claim.js';
import { FencedOff, KeyLocked, TAKE_IF_FREE } from '../store/idempotency.store.js';

/**
 * Maximum bytes of replies that one claim reads, for all keys together.
 *
 * While PostgreSQL waits for a client to read an answer, it cannot end the transaction. If the process froze then, the transaction would
 * hold the locks of the group. So an answer must fit into the socket buffers that Linux gives every connection: a receive window of 64 KiB,
 * and more than 40 KiB on the sending side.
 */
const REPLIES_BYTES = 64 * 1024;

/** The SQLSTATE of COMPLETE_ALL if a lock token no longer matches. */
const INVALID_DATETIME_FORMAT = '22007';

/** A recorded reply that is too large to be read while locks are held. {@link GroupStore.readReply} reads it. */
export interface LargeReply {
  kind: 'large-reply';
  status: number;
  lockToken: string;
  expiry: Expiry;
}

export type GroupClaim = Claim | LargeReply;

/**
 * The verbs `claim` and `complete` of `IdempotencyStore` for a whole group, with one statement for each verb. The rules for each key are the
 * same.
 */
@Injectable()
export class GroupStore {
  private readonly retentionSeconds: number;

  constructor(
    private readonly dataSource: DataSource,
    @Inject(IDEMPOTENCY_OPTIONS) private readonly options: IdempotencyOptions,
  ) {
    this.retentionSeconds = options.retentionHours * 3_600;
  }

  /**
   * Claims each key for its lock token. Keys that cannot be claimed are only read, so a replay costs one indexed read and writes nothing.
   *
   * A key that another transaction is writing is `in_progress`. An attempt in doubt, which has to wait for such a transaction, is committed
   * one by one instead.
   *
   * Each attempt may read an equal part of {@link REPLIES_BYTES}. A reply that is larger than its part becomes a {@link LargeReply}.
   *
   * @param sql within a transaction or right behind its BEGIN; nothing is claimed if BEGIN fails
   * @param attempts in lock order, and no two with the same key
   * @returns one claim for each attempt, in order
   * @throws KeyLocked
   */
  async claimAll(sql: SqlClient, attempts: readonly Attempt[]): Promise<GroupClaim[]> {
    const values = [
      attempts.map(({ identity }) => identity.accountId),
      attempts.map(({ identity }) => identity.key),
      attempts.map(({ newRequestId }) => newRequestId),
      attempts.map(({ identity }) => identity.operation),
      attempts.map(({ identity }) => identity.fingerprint),
      attempts.map(({ lockToken }) => lockToken),
      this.options.leaseSeconds,
      this.retentionSeconds,
      Math.floor(REPLIES_BYTES / attempts.length),
    ];
    const askedAt = performance.now();
    const claim = sql.query({ name: 'idempotency_claim_all', text: CLAIM_ALL, values });
    const { rows } = await claim.catch((error: unknown) => {
      throw isLockTimeout(error) ? new KeyLocked() : error;
    });
    const claims = new Array<GroupClaim>(attempts.length);
    for (const row of rows as unknown as ClaimRow[]) {
      const index = Number(row.position) - 1;
      claims[index] = claimOf(row, attempts[index]?.identity.fingerprint, askedAt);
    }
    return claims;
  }

  /**
   * Records replies. The statement fails if one of the keys is no longer held by its lock token, which aborts the transaction, so COMMIT can
   * be sent behind it without waiting.
   *
   * @returns the replies, each with the time when its key expires, in order
   * @throws FencedOff
   */
  async completeAll(sql: SqlClient, completions: readonly Completion[]): Promise<RecordedReply[]> {
    const values = [
      completions.map(({ identity }) => identity.accountId),
      completions.map(({ identity }) => identity.key),
      completions.map(({ lockToken }) => lockToken),
      completions.map(({ reply }) => reply.status),
      completions.map(({ reply }) => JSON.stringify(reply.headers)),
      completions.map(({ reply }) => reply.body),
      completions.length,
      this.retentionSeconds,
    ];
    const askedAt = performance.now();
    const completed = sql.query({ name: 'idempotency_complete_all', text: COMPLETE_ALL, values });
    const { rows } = await completed.catch((error: unknown) => {
      throw sqlState(error) === INVALID_DATETIME_FORMAT ? new FencedOff() : error;
    });
    const [row] = rows as unknown as CompletedRow[];
    return completions.map(({ reply: { status, headers, body } }, i) => {
      const expiry = {
        epochMs: row?.expires_at_ms[i] as number,
        notBefore: askedAt + (row?.lives_seconds[i] as number) * 1000,
      };
      return new RecordedReply(status, headers, body, expiry);
    });
  }

  /**
   * Reads a reply that was too large for its claim, once the transaction of the claim has ended.
   *
   * @returns `in_progress` if the row was swept or taken over since then, so that the caller claims the key again
   */
  async readReply(
    { accountId, key }: RequestIdentity,
    { status, lockToken, expiry }: LargeReply,
  ): Promise<Extract<Claim, { kind: 'completed' | 'in_progress' }>> {
    const [row] = await this.dataSource.query<ReplyRow[]>(READ_REPLY, [accountId, key, lockToken]);
    if (!row) return { kind: 'in_progress' };
    const reply = new RecordedReply(status, row.response_headers, row.response_body, expiry);
    return { kind: 'completed', reply, lockToken };
  }
}

interface ReplyRow {
  response_headers: Record<string, string>;
  response_body: string;
}

/** A row that CLAIM_ALL returns. */
interface ClaimRow {
  position: string;
  /** Set if the key was claimed. */
  request_id: string | null;
  /** Whether the key could have been claimed when it was read. */
  claimable: boolean;
  held_fingerprint: Buffer | null;
  held_token: string | null;
  response_status: number | null;
  /** Headers and body are missing while the request is in progress, and if they are too large. */
  response_headers: Record<string, string> | null;
  response_body: string | null;
  /** Missing for a new key. */
  expires_at_ms: number | null;
  lives_seconds: number | null;
}

/** The row that COMPLETE_ALL returns, with one element for each request, in order. */
interface CompletedRow {
  expires_at_ms: number[];
  lives_seconds: number[];
}

/** @param askedAt when the statement was sent, in milliseconds of `performance.now()` */
function claimOf(row: ClaimRow, fingerprint: Buffer | undefined, askedAt: number): GroupClaim {
  if (row.request_id !== null) return { kind: 'claimed', requestId: row.request_id };
  // Another transaction is writing the key or has just written it, so the row that was read is out of date.
  if (row.claimable) return { kind: 'in_progress' };
  if (!fingerprint || !row.held_fingerprint?.equals(fingerprint)) return { kind: 'reused' };
  const { held_token: lockToken, response_status: status, response_headers, response_body } = row;
  if (!lockToken || status === null) return { kind: 'in_progress' };
  const expiry = { epochMs: Number(row.expires_at_ms), notBefore: askedAt + Number(row.lives_seconds) * 1000 };
  if (!response_headers || response_body === null) return { kind: 'large-reply', status, lockToken, expiry };
  return { kind: 'completed', reply: new RecordedReply(status, response_headers, response_body, expiry), lockToken };
}

// $1 accounts, $2 keys, $3 new request ids, $4 operations, $5 fingerprints, $6 lock tokens, $7 lease s, $8 retention s, $9 largest reply
// that is read at once, in bytes
export const CLAIM_ALL = `
  WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::bytea[], $6::uuid[]) WITH ORDINALITY
      AS w (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, position)
    -- The invariant: a claim is committed with its intent or its effect, or not at all. The claim is sent before BEGIN is answered,
    -- so if BEGIN has failed, the claim must not run as a transaction of its own.
    WHERE ${IS_IN_TRANSACTION}
  ), seen AS MATERIALIZED (
    SELECT wanted.*, held.fingerprint AS held_fingerprint, held.lock_token AS held_token,
           held.response_status, held.response_headers, held.response_body, held.created_at,
           -- octet_length() reads the length that is stored with the value, so a large body is not even fetched.
           octet_length(held.response_body) + octet_length(held.response_headers::text) <= $9 AS is_small,
           CASE WHEN held.account_id IS NULL THEN true
                WHEN held.completed_at IS NULL THEN held.fingerprint = wanted.fingerprint
                  AND (held.locked_until <= clock_timestamp() OR held.lock_token = wanted.lock_token)
                ELSE held.created_at <= clock_timestamp() - make_interval(secs => $8) END AS claimable
    FROM wanted LEFT JOIN LATERAL (
      SELECT * FROM processed_requests AS row
      WHERE row.account_id = wanted.account_id AND row.idempotency_key = wanted.idempotency_key
      OFFSET 0
    ) AS held ON true
  ), claimed AS (
    INSERT INTO processed_requests AS held
      (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, locked_until, created_at)
    SELECT account_id, idempotency_key, request_id, operation, fingerprint, lock_token,
           clock_timestamp() + make_interval(secs => $7), clock_timestamp()
    FROM seen
    -- CASE fixes the order of evaluation: the advisory lock is taken only for keys that can be claimed.
    WHERE CASE WHEN claimable THEN pg_try_advisory_xact_lock(hashtextextended(idempotency_key, hashtextextended(account_id, 0)))
               ELSE false END
    ${TAKE_IF_FREE}
    RETURNING account_id, idempotency_key, request_id
  )
  SELECT seen.position, seen.claimable, claimed.request_id,
         seen.held_fingerprint, seen.held_token, seen.response_status,
         CASE WHEN seen.is_small THEN seen.response_headers END AS response_headers,
         CASE WHEN seen.is_small THEN seen.response_body END AS response_body,
         (extract(epoch FROM seen.created_at)::float8 + $8) * 1000 AS expires_at_ms,
         extract(epoch FROM seen.created_at - clock_timestamp())::float8 + $8 AS lives_seconds,
         -- This row decides the final answer, so the answer must wait until the row is replicated. The subquery runs at
         -- most once for the group.
         CASE WHEN NOT seen.claimable AND (seen.response_status IS NOT NULL OR seen.held_fingerprint <> seen.fingerprint)
              THEN (SELECT ${AWAIT_STANDBYS}) END
  FROM seen LEFT JOIN claimed USING (account_id, idempotency_key)`;

// $1 accounts, $2 keys, $3 lock tokens, $4 statuses, $5 headers, $6 bodies, $7 number of requests, $8 retention s
export const COMPLETE_ALL = `
  WITH completed AS (
    UPDATE processed_requests AS held
    SET response_status = done.status, response_headers = done.headers, response_body = done.body,
        completed_at = clock_timestamp(), locked_until = NULL,
        -- A request that is completed late, after an outage of hours, is kept as long as a new one. Otherwise its key could expire while
        -- its client is still retrying, and the retry would run the operation again.
        created_at = CASE WHEN held.created_at > clock_timestamp() - make_interval(secs => $8::float8 / 2) THEN held.created_at
                          ELSE clock_timestamp() END
    FROM unnest($1::text[], $2::text[], $3::uuid[], $4::smallint[], $5::jsonb[], $6::text[]) WITH ORDINALITY
        AS done (account_id, idempotency_key, lock_token, status, headers, body, position),
      LATERAL (
        SELECT tableoid, ctid FROM processed_requests AS row
        WHERE row.account_id = done.account_id AND row.idempotency_key = done.idempotency_key
          AND row.lock_token = done.lock_token AND row.response_status IS NULL
        OFFSET 0
      ) AS mine
    -- A ctid is unique within one partition only, so the partition is compared as well.
    WHERE held.tableoid = mine.tableoid AND held.ctid = mine.ctid
    RETURNING done.position, held.created_at
  )
  -- Raises an error if a lock token no longer matches, so that the COMMIT already sent behind this statement rolls back. Plain SQL has no
  -- RAISE, hence the failing cast. Nothing else in this statement can fail with the error of an invalid interval.
  SELECT (CASE WHEN count(*) = $7 THEN '0' ELSE 'a lock token has been lost' END)::interval,
         array_agg((extract(epoch FROM created_at)::float8 + $8) * 1000 ORDER BY position) AS expires_at_ms,
         array_agg(extract(epoch FROM created_at - clock_timestamp())::float8 + $8 ORDER BY position) AS lives_seconds
  FROM completed`;

// $1 account, $2 key, $3 lock token. A completed row never changes, so this reads the reply that the claim found.
const READ_REPLY = `
  SELECT response_headers, response_body FROM processed_requests
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NOT NULL`;
