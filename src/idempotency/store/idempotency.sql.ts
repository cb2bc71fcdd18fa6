import { IS_IN_TRANSACTION } from '../../postgres/transaction.js';

/**
 * The statements of the store, one for each of its verbs. Every time is the database's `clock_timestamp()`, which moves
 * within a transaction, as `now()` does not. Where an index is searched by time it is `statement_timestamp()`: the index cannot
 * be searched by what may change meanwhile, and all of it would be read when there is less to find than the limit.
 */

// $1 accounts, $2 keys, $3 new request ids, $4 operations, $5 fingerprints, $6 lock tokens, $7 lease s, $8 retention s, $9 wait,
// $10 bytes of a reply that is read at once
export const CLAIM = `
  WITH wanted AS (
    SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::bytea[], $6::uuid[]) WITH ORDINALITY
      AS w (account_id, idempotency_key, request_id, operation, fingerprint, lock_token, position)
    -- The invariant: a claim is committed with its intent or its effect, or not at all. The claim is sent before BEGIN is answered,
    -- so if BEGIN has failed, the claim must not become a transaction of its own.
    WHERE ${IS_IN_TRANSACTION}
  ), seen AS MATERIALIZED (
    SELECT wanted.*, held.fingerprint AS held_fingerprint, held.lock_token AS held_token,
           held.response_status, held.response_headers, held.response_body, held.created_at,
           -- octet_length() reads the length that is stored with the value, so a large body is not even fetched.
           octet_length(held.response_body) + octet_length(held.response_headers::text) <= $10 AS is_small,
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
    -- Asked for in this order, and for what can be taken only.
    WHERE CASE WHEN claimable THEN $9 OR pg_try_advisory_xact_lock(hashtextextended(idempotency_key, hashtextextended(account_id, 0)))
               ELSE false END
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
               THEN held.fingerprint = excluded.fingerprint
                 AND (held.locked_until <= clock_timestamp() OR held.lock_token = excluded.lock_token)
               ELSE held.created_at <= clock_timestamp() - make_interval(secs => $8) END
    RETURNING account_id, idempotency_key, request_id
  )
  SELECT seen.position, seen.claimable, claimed.request_id,
         seen.held_fingerprint, seen.held_token, seen.response_status,
         CASE WHEN seen.is_small THEN seen.response_headers END AS response_headers,
         CASE WHEN seen.is_small THEN seen.response_body END AS response_body,
         extract(epoch FROM seen.created_at - clock_timestamp())::float8 + $8 AS lives_seconds
  FROM seen LEFT JOIN claimed USING (account_id, idempotency_key)`;

// $1 account, $2 key, $3 lock token. A completed row never changes, so this is the reply that the claim has seen.
export const READ_REPLY = `
  SELECT response_headers, response_body FROM processed_requests
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NOT NULL`;

// $1 accounts, $2 keys, $3 lock tokens, $4 statuses, $5 headers, $6 bodies, $7 how many these are, $8 retention s
export const COMPLETE = `
  WITH completed AS (
    UPDATE processed_requests AS held
    SET response_status = done.status, response_headers = done.headers, response_body = done.body,
        completed_at = clock_timestamp(), locked_until = NULL,
        -- Finished late, after an outage of hours, it is kept as long as if it had just come. Otherwise it would expire as
        -- it is finished, and the client that has been sending it all the while would make it anew.
        created_at = CASE WHEN held.created_at > clock_timestamp() - make_interval(secs => $8::float8 / 2) THEN held.created_at
                          ELSE clock_timestamp() END
    FROM unnest($1::text[], $2::text[], $3::uuid[], $4::smallint[], $5::jsonb[], $6::text[])
        AS done (account_id, idempotency_key, lock_token, status, headers, body),
      LATERAL (
        SELECT tableoid, ctid FROM processed_requests AS row
        WHERE row.account_id = done.account_id AND row.idempotency_key = done.idempotency_key
          AND row.lock_token = done.lock_token AND row.response_status IS NULL
        OFFSET 0
      ) AS mine
    -- A ctid is unique within one partition only, so the partition is compared as well.
    WHERE held.tableoid = mine.tableoid AND held.ctid = mine.ctid
    RETURNING held.created_at
  )
  -- Fails where one was missing, so that COMMIT can follow without waiting: '0' is an interval, the other is not. Nothing
  -- else in this statement could fail with the error of a bad interval.
  SELECT (CASE WHEN count(*) = $7 THEN '0' ELSE 'a lock token has been lost' END)::interval,
         extract(epoch FROM min(created_at) - clock_timestamp())::float8 + $8 AS lives_seconds
  FROM completed`;

// $1 account, $2 key, $3 lock token
export const RELEASE = `
  UPDATE processed_requests SET locked_until = clock_timestamp()
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NULL`;

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

// $1 account, $2 key, $3 lock token
export const FORGET = `
  DELETE FROM processed_requests
  WHERE account_id = $1 AND idempotency_key = $2 AND lock_token = $3 AND completed_at IS NULL`;

// $1 operations that are resumed here
export const UNRESUMED = `
  SELECT operation, count(*)::integer AS requests FROM processed_requests
  WHERE completed_at IS NULL AND operation <> ALL ($1::text[]) AND locked_until <= statement_timestamp()
  GROUP BY operation ORDER BY operation`;

// $1 account, $2 key, $3 retention s
export const FIND = `
  SELECT CASE WHEN completed_at IS NULL THEN 'in_progress' ELSE 'completed' END AS status,
         operation, created_at, created_at + make_interval(secs => $3) AS expires_at
  FROM processed_requests
  WHERE account_id = $1 AND idempotency_key = $2
    AND (completed_at IS NULL OR created_at > clock_timestamp() - make_interval(secs => $3))`;

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
