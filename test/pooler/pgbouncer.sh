#!/usr/bin/env bash
# Prints the path of a PgBouncer of version 1.21 or later: an installed one, or one that this script builds from the source package of
# Debian 13, because Debian 12 has only 1.18. The build is kept in node_modules/.cache, and changes nothing on the system.
# The build needs Debian's build-essential, pkg-config, libevent-dev, libssl-dev and libc-ares-dev.
set -euo pipefail
cd "$(dirname "$0")/../.."

is_new() { # a program
  local version
  version=$("$1" --version 2> /dev/null | sed -n 's/^PgBouncer //p')
  [ -n "$version" ] && [ "$(printf '%s\n' 1.21 "$version" | sort --version-sort | head -n 1)" = 1.21 ]
}
for candidate in "$(command -v pgbouncer || true)" /usr/sbin/pgbouncer "$PWD/node_modules/.cache/pgbouncer/pgbouncer"; do
  if [ -x "$candidate" ] && is_new "$candidate"; then echo "$candidate"; exit; fi
done

missing=()
for package in build-essential pkg-config libevent-dev libssl-dev libc-ares-dev; do
  dpkg --status "$package" > /dev/null 2>&1 || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "test:pooler needs PgBouncer 1.21 or later; to build it: apt-get install ${missing[*]}" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
# Debian 13 is on the mirror from which this system gets its own packages.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Codename: bookworm' | head -n 1)
[ -n "$mirror" ] || { echo 'test:pooler needs PgBouncer 1.21 or later, or a Debian 12 to build it' >&2; exit 1; }
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > "$work/sources.list"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" node_modules/.cache/pgbouncer
source=(apt-get --quiet --quiet -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o "APT::Sandbox::User=$(id -un)")
{
  "${source[@]}" update
  (cd "$work" && "${source[@]}" source --download-only pgbouncer)
  mkdir "$work/pgbouncer"
  tar --extract --file "$work"/pgbouncer_*.orig.tar.gz --directory "$work/pgbouncer" --strip-components 1
  # Host names are resolved by c-ares, as in Debian's build.
  (cd "$work/pgbouncer" && ./configure --quiet --disable-evdns && make --silent)
} > "$work/log" 2>&1 || { echo 'PgBouncer could not be built:' >&2; tail -n 50 "$work/log" >&2; exit 1; }
mv "$work/pgbouncer/pgbouncer" node_modules/.cache/pgbouncer/pgbouncer
echo "$PWD/node_modules/.cache/pgbouncer/pgbouncer"
