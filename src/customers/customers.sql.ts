/**
 * The statements of customers. Each operation decides in one statement, because two statements could see a customer
 * before and after a change by another client.
 *
 * $1 is the account and $2 the id. A deleted customer keeps its row and its version, so a version that was read before
 * the deletion never matches a customer that was created after the deletion.
 */

/**
 * Changes the customer if its version is in $3. $4 to $6 are the new name, email and status; NULL leaves a value
 * unchanged.
 *
 * Returns the changed customer (`is_changed` is true), or the current customer if its version is not in $3
 * (`is_changed` is false), or no row if the customer does not exist. `current` locks the row, so that both branches of
 * the UNION see the same version.
 */
export const CHANGE = `
  WITH current AS (
    SELECT * FROM customers WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE
  ), changed AS (
    UPDATE customers SET name = coalesce($4, current.name), email = coalesce($5, current.email),
      status = coalesce($6, current.status), version = current.version + 1
    FROM current
    WHERE customers.account_id = $1 AND customers.id = $2 AND current.version = ANY ($3::integer[])
    RETURNING customers.*)
  SELECT *, true AS is_changed FROM changed
  UNION ALL
  SELECT *, false FROM current WHERE version <> ALL ($3::integer[])`;

/**
 * Creates or replaces the customer. The version increases only if the content differs. $3 to $5 are the name, email and
 * status.
 *
 * Returns the customer with `is_new`, which is true if the customer did not exist or was deleted. `locked` locks the
 * row and reads `deleted_at` before the INSERT overwrites it. The INSERT selects from `locked`, because PostgreSQL
 * would otherwise evaluate `locked` after the INSERT. `count(*)` returns exactly one row, so the INSERT has its row even
 * if the customer does not exist. `xmax` is 0 only if the INSERT created the row, because ON CONFLICT DO UPDATE locks an
 * existing row first.
 */
export const CREATE_OR_REPLACE = `
  WITH locked AS MATERIALIZED (SELECT deleted_at FROM customers WHERE account_id = $1 AND id = $2 FOR UPDATE)
  INSERT INTO customers AS existing (account_id, id, name, email, status, version)
  SELECT $1, $2, $3, $4, $5, 1 FROM (SELECT count(*) FROM locked) AS locked_first
  ON CONFLICT (account_id, id) DO UPDATE SET
    name = excluded.name, email = excluded.email, status = excluded.status, deleted_at = NULL,
    version = existing.version + CASE WHEN (existing.name, existing.email, existing.status) IS NOT DISTINCT FROM
                                           (excluded.name, excluded.email, excluded.status) THEN 0 ELSE 1 END
  RETURNING existing.*, xmax = 0 OR EXISTS (SELECT FROM locked WHERE deleted_at IS NOT NULL) AS is_new`;

/**
 * Replaces the customer if it exists and its version is in $6; NULL allows every version. The version increases only if
 * the content differs. $3 to $5 are the name, email and status. Returns the customer, or no row if nothing matches.
 */
export const REPLACE = `
  UPDATE customers SET name = $3, email = $4, status = $5,
    version = version + CASE WHEN (name, email, status) IS NOT DISTINCT FROM ($3, $4, $5) THEN 0 ELSE 1 END
  WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL AND ($6::integer[] IS NULL OR version = ANY ($6::integer[]))
  RETURNING *`;

/**
 * Deletes the content of the customer if its version is in $3; NULL allows every version.
 *
 * Returns the deleted customer (`is_deleted` is true), or the current customer if its version is not in $3 (`is_deleted`
 * is false), or no row if the customer does not exist. The same statement compares the version, because a second statement
 * could find a customer that was created after the deletion, and would report it as a mismatch.
 */
export const DELETE = `
  WITH current AS (
    SELECT * FROM customers WHERE account_id = $1 AND id = $2 AND deleted_at IS NULL FOR UPDATE
  ), deleted AS (
    UPDATE customers SET name = NULL, email = NULL, status = NULL, version = customers.version + 1, deleted_at = clock_timestamp()
    FROM current
    WHERE customers.account_id = $1 AND customers.id = $2 AND ($3::integer[] IS NULL OR current.version = ANY ($3::integer[]))
    RETURNING customers.*)
  SELECT *, true AS is_deleted FROM deleted
  UNION ALL
  SELECT *, false FROM current WHERE $3::integer[] IS NOT NULL AND version <> ALL ($3::integer[])`;
