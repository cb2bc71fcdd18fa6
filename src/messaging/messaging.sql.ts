/**
 * The statements of the outbox, the inbox and the failed messages. Every time is the database's
 * `clock_timestamp()`, or `statement_timestamp()` where an index is searched by it.
 */

/**
 * Appends messages to the outbox, as the end of a statement that has a common table expression with `account_id`, `type`,
 * `subject` and `data` for each. They are committed with whatever else that transaction does, or not at all.
 */
export const appendToOutbox = (messages: string) => `
  INSERT INTO outbox (account_id, id, type, data, created_at, available_at)
  SELECT account_id, type || '.' || subject, type, data, clock_timestamp(), clock_timestamp() FROM ${messages}
  -- Whoever does its work again has told of it already.
  ON CONFLICT (account_id, id) DO NOTHING`;

// $1 limit. Locked until the transaction ends, however it ends: other relays pass over these.
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

// $1 accounts, $2 ids, $3 first delay s, $4 longest delay s
export const POSTPONE = `
  UPDATE outbox
  SET attempts = attempts + 1, available_at = clock_timestamp()
    + make_interval(secs => least($4::float8, $3::float8 * 2 ^ least(attempts, 30)) * (0.5 + random() / 2))
  FROM unnest($1::text[], $2::text[]) AS put_off (account_id, id)
  WHERE outbox.account_id = put_off.account_id AND outbox.id = put_off.id`;

// $1 consumer, $2 accounts, $3 message ids, $4 whether the dead are delivered as well. Those that are for the first time, and the dead.
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
    -- In one order, so that two deliveries of the same messages cannot wait for each other.
    ORDER BY account_id, message_id
    ON CONFLICT (account_id, consumer, message_id) DO NOTHING
    RETURNING account_id, message_id
  ), recovered AS (
    -- Also of those that were received before: another delivery may have failed at the same time, and noted it later.
    DELETE FROM failed_messages AS failed USING message
    WHERE failed.account_id = message.account_id AND failed.consumer = $1 AND failed.message_id = message.message_id
  )
  SELECT account_id, message_id, false AS is_dead FROM received
  UNION ALL SELECT account_id, message_id, true FROM dead`;

// $1 account, $2 consumer, $3 message id, $4 type, $5 data, $6 created at, $7 error, $8 attempts before it is dead.
// Counted when the consumer has failed, not before it begins: that would be a commit more for every delivery. So a message that
// ends the process is no attempt, and comes again for as long as it does.
export const RECORD_FAILURE = `
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

/**
 * Deletes exactly the rows that a common table expression has locked. The first condition makes it a TID scan, and the second makes it
 * exact, because a ctid is unique within one partition only.
 */
const deleteLocked = (table: string, locked: string) => `
  DELETE FROM ${table}
  WHERE ctid = ANY (ARRAY (SELECT ctid FROM ${locked})) AND (tableoid, ctid) IN (SELECT tableoid, ctid FROM ${locked})`;

// $1 retention s, $2 limit
export const SWEEP_OUTBOX = `
  WITH old AS MATERIALIZED (
    SELECT tableoid, ctid FROM outbox WHERE published_at <= statement_timestamp() - make_interval(secs => $1)
    ORDER BY published_at LIMIT $2
    FOR UPDATE SKIP LOCKED)
  ${deleteLocked('outbox', 'old')}`;

// $1 retention s, $2 limit
export const SWEEP_INBOX = `
  WITH old AS MATERIALIZED (
    SELECT tableoid, ctid FROM processed_messages AS processed
    WHERE processed_at <= statement_timestamp() - make_interval(secs => $1)
      -- What has still to be published will be delivered again, however long that takes.
      AND NOT EXISTS (
        SELECT FROM outbox
        WHERE account_id = processed.account_id AND id = processed.message_id AND published_at IS NULL)
      -- And what is a dead letter as well, since another delivery failed at the same time, may be sent again at any time.
      AND NOT EXISTS (
        SELECT FROM failed_messages AS failed
        WHERE failed.account_id = processed.account_id AND failed.consumer = processed.consumer
          AND failed.message_id = processed.message_id)
    ORDER BY processed_at LIMIT $2
    FOR UPDATE SKIP LOCKED)
  ${deleteLocked('processed_messages', 'old')}`;

export const BACKLOG = `
  SELECT (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM outbox
          WHERE published_at IS NULL) AS "oldestUnpublishedSeconds",
         (SELECT count(*)::integer FROM failed_messages WHERE dead_at IS NOT NULL) AS "deadLetters"`;
