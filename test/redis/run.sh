#!/usr/bin/env bash
# Runs the tests that need a Redis: the limit of mails, and what Redis cannot promise. The tests start and end their own servers.
# Needs Debian's redis-server, or any redis-server or valkey-server of version 7 or later in PATH.
set -euo pipefail
cd "$(dirname "$0")/../.."

server=$(command -v redis-server || command -v valkey-server) ||
  { echo "test:redis needs redis-server: apt-get install redis-server" >&2; exit 1; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT
TEST_REDIS_SERVER="$server" npm test -- test/redis notifications "$@" 2>&1 | tee "$log"
awk '/^Tests:/ { for (i = 2; i <= NF; i++) { if ($i ~ /passed/) passed = $(i - 1); if ($i ~ /failed/) failed = $(i - 1) } }
     END { printf "%d passed, %d failed\n", passed, failed }' "$log"
