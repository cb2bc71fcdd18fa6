/**
 * An SQL expression that makes the COMMIT of its transaction wait until the standbys have everything that the transaction has read. It
 * does nothing unless `synchronous_standby_names` is set.
 *
 * PostgreSQL makes only a transaction that writes wait for standbys. A row may be visible that no standby has, because the wait of the
 * transaction that wrote the row was broken off, for example by a restart of the primary. So a transaction that only reads such a row, and
 * whose answer is acknowledged, would acknowledge what a failover loses. The expression writes a record to the WAL that has
 * no effect. So the transaction has a COMMIT record, which comes after everything that the transaction has read.
 *
 * `pg_current_xact_id` fails on a standby with SQLSTATE 25006, as a statement that writes does.
 */
export const AWAIT_STANDBYS = `
  CASE WHEN current_setting('synchronous_standby_names') <> ''
       THEN pg_logical_emit_message(true, 'idempotency', pg_current_xact_id()::text) END`;
