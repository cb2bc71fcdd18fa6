#!/usr/bin/env bash
# Runs the tests of the failover on the configuration of deploy/ha: three machines on loopback, each with etcd, Patroni and PostgreSQL, and HAProxy
# in front. At the end, also after a signal, no process and no file is left.
# Needs Debian's postgresql, etcd-server, haproxy and python3-venv, and Patroni from PyPI.
set -euo pipefail
cd "$(dirname "$0")/../.."

need() { # a file or command, and the package that contains it
  [ -x "$1" ] || command -v "$1" > /dev/null || { echo "test:ha needs $1: apt-get install $2" >&2; exit 1; }
}
# The newest PostgreSQL of Debian's packages. The one from npm lacks pg_basebackup and pg_rewind.
bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort --version-sort | tail -n 1)
need "$bin/pg_rewind" postgresql
need etcd etcd-server
need haproxy haproxy

work=$(mktemp -d)
tool=
finish() {
  if [ -n "$tool" ] && kill -TERM "$tool" 2> /dev/null; then wait "$tool" || true; fi
  # Patroni starts PostgreSQL in a session of its own, so PostgreSQL outlives Patroni and the tool. Every server works in a folder below $work.
  for cwd in /proc/[0-9]*/cwd; do
    case "$(readlink "$cwd")" in "$work"/*) pid=${cwd#/proc/}; kill -KILL "${pid%/cwd}" 2> /dev/null || true ;; esac
  done
  # A process that is being killed may still write a file.
  until rm -rf "$work" 2> /dev/null; do sleep 0.1; done
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

# PostgreSQL refuses to run as root, and the user that runs it cannot read the project if the project is in a home directory. So everything
# that the servers need is in $work.
owner=$(id -un)
[ "$owner" != root ] || owner=postgres
as_owner() {
  if [ "$(id -un)" = "$owner" ]; then "$@"; else setpriv --reuid="$owner" --regid="$owner" --clear-groups "$@"; fi
}
mkdir "$work/data"
cp -r deploy/ha "$work/config"
chmod -R a+rX "$work"
chown -R "$owner" "$work/data"

# Root may have a Python in its home directory, which other users cannot run.
for candidate in python3 /usr/bin/python3; do
  if as_owner "$(command -v "$candidate")" -c 'import ensurepip' 2> /dev/null; then python=$candidate; break; fi
done
[ -n "${python:-}" ] || { echo 'test:ha needs a python3 with venv: apt-get install python3-venv' >&2; exit 1; }
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check -r deploy/ha/requirements.txt

# In the background, because bash runs a trap only after a command in the foreground has ended.
node dist/test/ha/main.js --config "$work/config" --data "$work/data" --patroni "$work/venv/bin/patroni" --postgres "$bin" \
  --uid "$(id -u "$owner")" --gid "$(id -g "$owner")" &
tool=$!
status=0
wait "$tool" || status=$?
tool=
exit "$status"
