-- The settings of a session, for the role that runs this file, because a pooler in transaction mode does not pass on the settings that a client
-- sends. The service must run with DATABASE_SESSION_SETTINGS=role, and checks these settings at its start.
-- src/database/data-source.ts has the reason for each value.
ALTER ROLE CURRENT_USER SET lock_timeout = '2s';
ALTER ROLE CURRENT_USER SET statement_timeout = '10s';
ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '5s';
ALTER ROLE CURRENT_USER SET datestyle = 'ISO';
ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'read committed';
