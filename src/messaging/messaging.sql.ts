/**
 * The statements of the outbox, the inbox and the failed messages. Every time comes from the database's clock. Index conditions use
 * `statement_timestamp()`, because `clock_timestamp()` is volatile and PostgreSQL could not use the index for it.
 */

/**
 * Returns SQL that appends messages to the outbox, as the last part of a statement with common table expressions. The same
 * statement writes the rows that the messages announce, so rows and messages are committed atomically.
 *
 * The invariant: a change is announced once. So the statement must append a message only if it has changed the row. A repetition changes nothing,
 * so it must append nothing. The message is fresh: it has no `available_at`.
 *
 * ```sql
 * WITH settled AS (UPDATE ... RETURNING ...),
 *      messages AS (SELECT account_id, 'charge.succeeded' AS type, id AS subject, ... AS data FROM settled)
 * ${appendToOutbox('messages')}
 * ```
 *
 * @param cte name of the common table expression that returns one row for each message, with the columns `account_id`, `type`,
 *   `subject` and `data`. The name becomes part of the SQL, so it must be a constant.
 */
export const appendToOutbox = (cte: string) => `
  INSERT INTO outbox (account_id, id, type, data, created_at)
  SELECT account_id, type || '.' || subject, type, data, clock_timestamp() FROM ${cte}`;

/**
 * Returns a condition for exactly the rows that a common table expression has selected. The first part makes the plan a TID scan. The
 * second part is necessary because a ctid is unique only within one partition.
 */
const selectedBy = (cte: string) =>
  `ctid = ANY (ARRAY (SELECT ctid FROM ${cte})) AND (tableoid, ctid) IN (SELECT tableoid, ctid FROM ${cte})`;

/**
 * The fresh messages, the oldest first; none if another relay holds the advisory lock. The subquery takes the lock once, which costs less than a
 * lock of each row. The lock ends with the transaction, or with the connection of a relay that has died.
 */
const FRESH = `
  SELECT tableoid, ctid FROM outbox
  WHERE published_at IS NULL AND available_at IS NULL AND (SELECT pg_try_advisory_xact_lock(hashtext('outbox'), 0))
  ORDER BY available_at, created_at LIMIT $1`;

// $1 limit. If the transaction rolls back, the messages are still there, and still fresh.
export const TAKE_FRESH = `
  WITH fresh AS MATERIALIZED (${FRESH})
  DELETE FROM outbox WHERE ${selectedBy('fresh')}
  RETURNING account_id, id, type, data, created_at`;

// $1 limit. After its COMMIT a bus may know the messages, so no relay may take them as fresh.
export const RELEASE_FRESH = `
  WITH fresh AS MATERIALIZED (${FRESH})
  UPDATE outbox SET available_at = clock_timestamp()
  WHERE ${selectedBy('fresh')}`;

/** Much shorter than the time that the inbox has for splitting a batch, so that other accounts still get their turn after a locked one. */
export const SHORT_LOCK_TIMEOUT = `SET LOCAL lock_timeout = '250ms'`;

// $1 limit. The rows stay locked until the transaction ends, and other relays skip them.
export const LOCK_DUE = `
  SELECT account_id, id, type, data, created_at FROM outbox
  WHERE published_at IS NULL AND available_at <= statement_timestamp()
  ORDER BY available_at LIMIT $1
  FOR UPDATE SKIP LOCKED`;

// $1 accounts, $2 ids
export const MARK_PUBLISHED = `
  UPDATE outbox SET published_at = clock_timestamp()
  FROM unnest($1::text[], $2::text[]) AS done (account_id, id)
  WHERE outbox.account_id = done.account_id AND outbox.id = done.id`;

// $1 accounts, $2 ids, $3 first delay s, $4 longest delay s. A random part, up to one half, is cut from the delay, so that messages which
// failed together are not all due at the same moment.
export const POSTPONE = `
  UPDATE outbox
  SET attempts = attempts + 1, available_at = clock_timestamp()
    + make_interval(secs => least($4::float8, $3::float8 * 2 ^ least(attempts, 30)) * (0.5 + random() / 2))
  FROM unnest($1::text[], $2::text[]) AS postponed (account_id, id)
  WHERE outbox.account_id = postponed.account_id AND outbox.id = postponed.id`;

// $1 consumer, $2 accounts, $3 message ids, $4 whether dead letters are processed as well. Returns the messages that are new to the consumer,
// and the dead letters that were skipped.
export const RECEIVE = `
  WITH delivered AS MATERIALIZED (
    SELECT account_id, message_id FROM unnest($2::text[], $3::text[]) AS message (account_id, message_id)
  ), dead AS MATERIALIZED (
    SELECT account_id, message_id FROM failed_messages JOIN delivered USING (account_id, message_id)
    WHERE consumer = $1 AND dead_at IS NOT NULL AND NOT $4
  ), message AS MATERIALIZED (
    SELECT account_id, message_id FROM delivered EXCEPT SELECT account_id, message_id FROM dead
  ), received AS (
    INSERT INTO processed_messages (account_id, consumer, message_id, processed_at)
    SELECT account_id, $1, message_id, clock_timestamp() FROM message
    -- One order for all transactions, so that two deliveries of the same messages cannot deadlock.
    ORDER BY account_id, message_id
    ON CONFLICT (account_id, consumer, message_id) DO NOTHING
    RETURNING account_id, message_id
  ), recovered AS (
    -- Also for messages that were processed before, because a concurrent delivery may have failed and counted its failure later.
    DELETE FROM failed_messages AS failed USING message
    WHERE failed.account_id = message.account_id AND failed.consumer = $1 AND failed.message_id = message.message_id
  )
  SELECT account_id, message_id, false AS is_dead FROM received
  UNION ALL SELECT account_id, message_id, true FROM dead`;

// $1 account, $2 consumer, $3 message id, $4 type, $5 data, $6 created at, $7 error, $8 number of failures that make the message a dead letter.
// A failure is counted after the consumer has failed. Counting each attempt before it begins would cost every delivery one more commit.
// Known limitation: a message that makes the process crash is never counted, so it is delivered again without end.
export const COUNT_FAILURE = `
  INSERT INTO failed_messages AS failed
    (account_id, consumer, message_id, type, data, created_at, attempts, last_error, failed_at, dead_at)
  VALUES ($1, $2, $3, $4, $5, $6, 1, $7, clock_timestamp(), CASE WHEN $8 <= 1 THEN clock_timestamp() END)
  ON CONFLICT (account_id, consumer, message_id) DO UPDATE SET
    attempts = failed.attempts + 1, last_error = excluded.last_error, failed_at = excluded.failed_at,
    dead_at = coalesce(failed.dead_at, CASE WHEN failed.attempts + 1 >= $8 THEN clock_timestamp() END)
  RETURNING attempts, dead_at IS NOT NULL AS is_dead`;

// $1 account
const DEAD = `
  SELECT consumer, message_id, type, data, created_at, attempts, last_error, dead_at FROM failed_messages
  WHERE account_id = $1 AND dead_at IS NOT NULL`;

// $1 account, $2 limit
export const LIST_DEAD = `${DEAD} ORDER BY dead_at DESC LIMIT $2`;

// $1 account, $2 consumer, $3 message id
export const FIND_DEAD = `${DEAD} AND consumer = $2 AND message_id = $3`;

// $1 retention s, $2 limit
export const SWEEP_OUTBOX = `
  WITH old AS MATERIALIZED (
    SELECT tableoid, ctid FROM outbox WHERE published_at <= statement_timestamp() - make_interval(secs => $1)
    ORDER BY published_at LIMIT $2
    FOR UPDATE SKIP LOCKED)
  DELETE FROM outbox WHERE ${selectedBy('old')}`;

// $1 retention s, $2 limit
export const SWEEP_INBOX = `
  WITH old AS MATERIALIZED (
    SELECT tableoid, ctid FROM processed_messages AS processed
    WHERE processed_at <= statement_timestamp() - make_interval(secs => $1)
      -- A message that is still unpublished will be delivered again, at any time.
      AND NOT EXISTS (
        SELECT FROM outbox
        WHERE account_id = processed.account_id AND id = processed.message_id AND published_at IS NULL)
      -- A processed message can also be a dead letter, because a concurrent delivery failed. It may be redelivered at any time.
      AND NOT EXISTS (
        SELECT FROM failed_messages AS failed
        WHERE failed.account_id = processed.account_id AND failed.consumer = processed.consumer
          AND failed.message_id = processed.message_id)
    ORDER BY processed_at LIMIT $2
    FOR UPDATE SKIP LOCKED)
  DELETE FROM processed_messages WHERE ${selectedBy('old')}`;

export const BACKLOG = `
  SELECT (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox
          WHERE published_at IS NULL) AS "oldestUnpublishedSeconds",
         (SELECT count(*)::integer FROM failed_messages WHERE dead_at IS NOT NULL) AS "deadLetters"`;
