#!/usr/bin/env bash
# Runs the tests of the pooler: the configuration of deploy/pgbouncer in front of the embedded PostgreSQL.
# Needs PgBouncer 1.21 or later; test/pooler/pgbouncer.sh builds it on Debian 12.
set -euo pipefail
cd "$(dirname "$0")/../.."
pgbouncer=$(test/pooler/pgbouncer.sh)
exec node dist/test/pooler/main.js "$pgbouncer"
