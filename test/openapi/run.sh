#!/usr/bin/env bash
# Starts the built service on loopback with its own database. schemathesis then sends requests that /openapi.json allows and
# requests that it forbids. No answer may be a 5xx, have an undocumented status, or contradict its schema. All checks of
# schemathesis are on; schemathesis.toml configures them. The first run uses a fixed seed and one account, the second run a
# random seed and another account. `npm run test:openapi -- --seed 7` repeats a run with its seed.
# Needs Python 3.10 or later with venv, and access to PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=4.32.5
# Examples for each operation in each phase.
max_examples=15

need() { # what is missing
  echo "test:openapi needs $1: apt-get install python3-venv" >&2
  exit 1
}
command -v python3 > /dev/null || need python3
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || need 'Python 3.10 or later'
python3 -c 'import ensurepip' 2> /dev/null || need venv

work=$(mktemp -d)
# If root runs this script, the database runs as another user, who must be able to enter this folder.
chmod 755 "$work"
service=
finish() {
  if [ -n "$service" ] && kill -TERM "$service" 2> /dev/null; then wait "$service" || true; fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "schemathesis==$version"

main=$PWD/dist/src/main.js
config=$PWD/test/openapi/schemathesis.toml
hooks=$PWD/test/openapi/hooks.py
# Runs outside the project's folder, because the tests must not use its .env and .data, nor write files there.
cd "$work"
: > service.log # the loop below may read it before the process in the background has begun
env -i PATH="$PATH" PORT=0 API_KEYS=acct_a:sk_a,acct_b:sk_b GATEWAY_TIMEOUT_MS=300 LOG_LEVEL=warn \
  node "$main" > service.log 2>&1 &
service=$!
for _ in $(seq 300); do
  url=$(sed -n 's/.*served at \([^,]*\),.*/\1/p' service.log)
  if [ -n "$url" ] || ! kill -0 "$service" 2> /dev/null; then break; fi
  sleep 0.1
done
[ -n "$url" ] || { echo 'The service has not started:' >&2; cat service.log >&2; exit 1; }

check() { # account, seed, further options
  local account=$1 seed=$2
  shift 2
  HOME=$work SCHEMATHESIS_HOOKS=$hooks venv/bin/st --config-file "$config" run "$url/openapi.json" --header "Authorization: Bearer sk_$account" \
    --checks all --max-examples "$max_examples" --seed "$seed" --output-sanitize false --warnings off "$@"
}
check a 1 "$@"
check b "$RANDOM" "$@"
